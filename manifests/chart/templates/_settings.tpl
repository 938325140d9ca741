{{/*
Adds the variable of each setting to .variables. A setting of the signer spiffe has the short name, as in base and
components: there the value wins over theirs. The argument: settings, prefix, variables.
*/}}
{{- define "kubespiffe.settings" -}}
{{- $all := . -}}
{{- range $key, $value := .settings }}
{{- if and (eq $key "signers") (not $all.prefix) }}
{{- range $signer, $settings := $value }}
{{- $prefix := ternary "" (printf "%s-" $signer) (eq $signer "spiffe") }}
{{- include "kubespiffe.settings" (dict "settings" $settings "prefix" $prefix "variables" $all.variables) }}
{{- end }}
{{- else if not (kindIs "invalid" $value) }}
{{- $words := regexReplaceAll "([A-Z])" (printf "%s%s" ($all.prefix | default "") $key) "-${1}" }}
{{- $text := $value }}
{{- if kindIs "slice" $value }}{{ $text = join "," $value }}{{ else if not (kindIs "string" $value) }}{{ $text = toJson $value }}{{ end }}
{{- $name := printf "KUBESPIFFE_%s" ($words | replace "-" "_" | upper) }}
{{- $other := get $all.variables $name | default $text }}
{{- if ne $other $text }}{{ fail (printf "settings.%s and settings.signers.spiffe.%s mean the same setting, and are %s and %s: set only one of them" $key $key $other $text) }}{{ end }}
{{- $_ := set $all.variables $name $text }}
{{- end }}
{{- end }}
{{- end }}
