{{- define "gemma.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "gemma.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "gemma.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "gemma.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selectors and volume claims have: it must be the same in every version and for any values but the names. */}}
{{- define "gemma.selector" -}}
app.kubernetes.io/name: {{ include "gemma.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "gemma.labels" -}}
{{ include "gemma.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: gemma-gateway
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- $own := include "gemma.selector" . | fromYaml }}
{{- range $name, $value := .root.Values.commonLabels }}
{{- if not (hasKey $own $name) }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* A pod's labels: the chart's own and the user's, which cannot replace what a selector asks for. */}}
{{- define "gemma.podLabels" -}}
{{- $own := include "gemma.labels" . | fromYaml -}}
{{- toYaml (merge $own .extra) -}}
{{- end -}}

{{- define "gemma.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "gemma.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "gemma.secret" -}}
{{- default (include "gemma.fullname" .) .Values.auth.existingSecret -}}
{{- end -}}

{{- define "gemma.image" -}}
{{- $repository := .image.repository -}}
{{- if .root.Values.imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .root.Values.imageRegistry) ($repository | trimPrefix "docker.io/") -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "gemma.engineImage" -}}
{{- $repository := default (ternary "gemma-gateway-engine" "gemma-gateway-engine-cpu" (eq .Values.profile "gpu")) .Values.engine.image.repository -}}
{{- include "gemma.image" (dict "root" . "image" (merge (dict "repository" $repository) .Values.engine.image)) -}}
{{- end -}}
