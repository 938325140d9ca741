{{- define "kubespiffe.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/*
What the values change in the Deployment, as a patch. The settings stand in the Deployment itself, not in a ConfigMap: so
replicas of the previous version keep their own settings, also if an upgrade fails. The argument: root, literals.
*/}}
{{- define "kubespiffe.deployment" -}}
{{- with .root.Values }}
metadata:
  namespace: {{ $.root.Release.Namespace }}
spec:
  replicas: {{ .replicas }}
  template:
    metadata:
      labels: {{- toYaml .podLabels | nindent 8 }}
      annotations: {{- toYaml .podAnnotations | nindent 8 }}
    spec:
      {{- range $field := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
      {{- with get $.root.Values $field }}
      {{ $field }}: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      containers:
        - name: signer
          image: {{ include "kubespiffe.image" $.root }}
          imagePullPolicy: {{ .image.pullPolicy }}
          resources: {{- toYaml .resources | nindent 12 }}
          env:
            {{- range $name, $value := $.literals }}
            - name: {{ $name }}
              value: {{ $value | quote }}
            {{- end }}
{{- end }}
{{- end }}

{{/* What the values change in the Deployment of the web view. */}}
{{- define "kubespiffe.view" -}}
spec:
  template:
    spec:
      {{- range $field := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" }}
      {{- with get $.Values $field }}
      {{ $field }}: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      containers:
        - name: view
          image: {{ include "kubespiffe.image" . }}
          imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{/* What the component injection injects. A trust domain that is no label value has its hash there, as in the bundles. */}}
{{- define "kubespiffe.injection" -}}
{{- $trustDomain := .Values.settings.trustDomain -}}
{{- if not (regexMatch "^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$" $trustDomain) -}}
{{- $trustDomain = printf "sha256-%s" (sha256sum $trustDomain | trunc 40) -}}
{{- end -}}
trustDomain: {{ $trustDomain | quote }}
image: {{ include "kubespiffe.image" . | quote }}
{{- if and .Values.components.tokenEndpoint .Values.settings.tokenClientCertificates }}
tokenEndpoint: https://kubespiffe-tokens.{{ .Release.Namespace }}.svc
{{- end }}
{{- end }}

{{/* The newest API of mutating policies that the cluster serves. */}}
{{- define "kubespiffe.mutating" -}}
admissionregistration.k8s.io/
{{- if or (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy") (not (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy")) -}}
v1
{{- else -}}
v1beta1
{{- end -}}
{{- end }}
