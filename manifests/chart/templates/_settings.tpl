{{/* Adds the variable of each setting to .literals. The argument: settings, prefix, literals. */}}
{{- define "kubespiffe.settings" -}}
{{- $all := . -}}
{{- range $key, $value := .settings }}
{{- if and (eq $key "signers") (not $all.prefix) }}
{{- range $signer, $settings := $value }}
{{- include "kubespiffe.settings" (dict "settings" $settings "prefix" (printf "%s-" $signer) "literals" $all.literals) }}
{{- end }}
{{- else if not (kindIs "invalid" $value) }}
{{- $words := regexReplaceAll "([A-Z])" (printf "%s%s" ($all.prefix | default "") $key) "-${1}" }}
{{- $text := $value }}
{{- if kindIs "slice" $value }}{{ $text = join "," $value }}{{ else if not (kindIs "string" $value) }}{{ $text = toJson $value }}{{ end }}
{{- $_ := set $all.literals (printf "KUBESPIFFE_%s" ($words | replace "-" "_" | upper)) $text }}
{{- end }}
{{- end }}
{{- end }}
