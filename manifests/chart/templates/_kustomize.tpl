{{/*
The part of kustomize that manifests/ uses, so that the chart has no copy of it: files/ links to base and components.
A template can only return text, so these change the dictionary that they get.
*/}}

{{/* A file as text, with the names of this release. The argument: root, path. */}}
{{- define "kubespiffe.read" -}}
{{- $text := .root.Files.Get (printf "files/%s" .path) -}}
{{- if not $text }}{{ fail (printf "the chart lacks files/%s: package it with what files/ links to" .path) }}{{ end -}}
{{- $settings := .root.Values.settings -}}
{{- $signers := $settings.signers | default dict -}}
{{- $spiffe := $signers.spiffe | default dict -}}
{{- $text = regexReplaceAll "(?m)^(\\s+namespace): kubespiffe$" $text (printf "${1}: %s" .root.Release.Namespace) -}}
{{- $text = $text | replace "=kubespiffe/" (printf "=%s/" .root.Release.Namespace) -}}
{{- range $name, $setting := dict
  "kubespiffe-pool" ($spiffe.pool | default $settings.pool)
  "kubespiffe-service-dns-pool" (dig "service-dns" "pool" "" $signers)
}}
{{- with $setting }}
{{- $place := splitList "/" . }}
{{- if ne (first $place) $.root.Release.Namespace }}
{{- fail (printf "the pool %s is not in the namespace of the release (%s), where the Role of the signer is" . $.root.Release.Namespace) }}
{{- end }}
{{- $text = $text | replace $name (last $place) }}
{{- end }}
{{- end }}
{{- with $spiffe.rootsConfigMap | default $settings.rootsConfigMap }}{{ $text = regexReplaceAll "(?m)kubespiffe-roots(]|$)" $text (printf "%s${1}" .) }}{{ end -}}
{{- range $signer, $suffix := dict
  "spiffe" ($spiffe.bundleSuffix | default $settings.bundleSuffix)
  "pod-identity" (dig "pod-identity" "bundleSuffix" "" $signers)
  "service-dns" (dig "service-dns" "bundleSuffix" "" $signers)
}}
{{- with $suffix }}{{ $text = $text | replace (printf "kubespiffe.io:%s:roots" $signer) (printf "kubespiffe.io:%s:%s" $signer .) }}{{ end }}
{{- end }}
{{- $text -}}
{{- end }}

{{/* Adds what a folder's kustomization makes to .objects and .literals. The argument: root, folder, objects, literals. */}}
{{- define "kubespiffe.kustomize" -}}
{{- $all := . -}}
{{- $folder := .folder -}}
{{- $kustomization := include "kubespiffe.read" (dict "root" .root "path" (printf "%s/kustomization.yaml" $folder)) | fromYaml -}}
{{- range $kustomization.resources }}
{{- if hasPrefix "../" . }}
{{- $_ := set $all "folder" (trimPrefix "../" .) }}
{{- include "kubespiffe.kustomize" $all }}
{{- else }}
{{- $text := include "kubespiffe.read" (dict "root" $all.root "path" (printf "%s/%s" $folder .)) }}
{{- range regexSplit "(?m)^---$" $text -1 }}
{{- $_ := set $all "objects" (append $all.objects (. | fromYaml)) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $kustomization.labels }}
{{- $labels := dict "metadata" (dict "labels" .pairs) }}
{{- range $all.objects }}
{{- include "kubespiffe.merge" (dict "into" . "from" $labels) }}
{{- if dig "spec" "template" "metadata" "" . }}{{ include "kubespiffe.merge" (dict "into" .spec.template "from" $labels) }}{{ end }}
{{- end }}
{{- end }}
{{- range $kustomization.configMapGenerator }}
{{- range .literals }}
{{- $pair := splitn "=" 2 . }}
{{- $_ := set $all.literals $pair._0 $pair._1 }}
{{- end }}
{{- end }}
{{- range $kustomization.patches }}{{ include "kubespiffe.patch" (dict "objects" $all.objects "patch" .) }}{{ end }}
{{- end }}

{{/* Applies a patch of a kustomization. The argument: objects, patch. */}}
{{- define "kubespiffe.patch" -}}
{{- $target := .patch.target -}}
{{- $from := dict -}}
{{- $operations := list -}}
{{- if hasPrefix "-" .patch.patch }}
{{- $operations = fromYamlArray .patch.patch }}
{{- else }}
{{- $from = fromYaml .patch.patch }}
{{- $target = $target | default (dict "kind" $from.kind "name" (dig "metadata" "name" "" $from)) }}
{{- end }}
{{- $found := false }}
{{- range $object := .objects }}
{{- if and (eq $object.kind $target.kind) (eq $object.metadata.name $target.name) }}
{{- $found = true }}
{{- $from = omit $from "apiVersion" "metadata" | merge (dict "metadata" (omit ($from.metadata | default dict) "namespace")) }}
{{- include "kubespiffe.merge" (dict "into" $object "from" $from) }}
{{- range $operations }}{{ include "kubespiffe.add" (dict "to" $object "operation" .) }}{{ end }}
{{- end }}
{{- end }}
{{- if not $found }}{{ fail (printf "a patch names the %s %s, which the chart does not create" $target.kind $target.name) }}{{ end }}
{{- end }}

{{/* A strategic merge patch: dictionaries are merged, lists of what has a name or a mountPath too, all else is replaced. */}}
{{- define "kubespiffe.merge" -}}
{{- $into := .into -}}
{{- range $key, $value := .from }}
{{- $old := get $into $key }}
{{- if and (kindIs "map" $value) (kindIs "map" $old) }}
{{- include "kubespiffe.merge" (dict "into" $old "from" $value) }}
{{- else if and $value $old (kindIs "slice" $value) (kindIs "slice" $old) (kindIs "map" (first $value)) (hasKey (first $value) "name") }}
{{- range $item := $value }}
{{- $by := ternary "mountPath" "name" (hasKey $item "mountPath") }}
{{- $found := false }}
{{- range $one := $old }}
{{- if eq (get $one $by) (get $item $by) }}
{{- $found = true }}
{{- include "kubespiffe.merge" (dict "into" $one "from" $item) }}
{{- end }}
{{- end }}
{{- if not $found }}{{ $old = append $old $item }}{{ end }}
{{- end }}
{{- $_ := set $into $key $old }}
{{- else }}
{{- $_ := set $into $key $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* An operation "add" of a JSON patch (RFC 6902). The argument: to, operation. */}}
{{- define "kubespiffe.add" -}}
{{- $operation := .operation -}}
{{- if ne $operation.op "add" }}{{ fail (printf "a patch has the operation %s: the chart can only do add" $operation.op) }}{{ end -}}
{{- $at := .to -}}
{{- $steps := list -}}
{{- range splitList "/" (trimPrefix "/" $operation.path) }}
{{- $steps = append $steps (. | replace "~1" "/" | replace "~0" "~") }}
{{- end }}
{{- $isAppended := eq (last $steps) "-" }}
{{- $key := last $steps }}
{{- $steps = initial $steps }}
{{- if $isAppended }}{{ $key = last $steps }}{{ $steps = initial $steps }}{{ end }}
{{- range $steps }}
{{- if kindIs "slice" $at }}{{ $at = index $at (int .) }}{{ else }}{{ $at = index $at . }}{{ end }}
{{- end }}
{{- $_ := set $at $key (ternary (append (get $at $key | default list) $operation.value) $operation.value $isAppended) }}
{{- end }}
