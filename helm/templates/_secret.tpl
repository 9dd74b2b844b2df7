{{/* What the chart's own Secret holds, made once for all templates: its checksum has to be that of what is written.
     Made once and kept on every upgrade. A renderer without a cluster (Argo CD, `helm template`) cannot look it up:
     there, make a Secret of your own and name it in auth.existingSecret. */}}
{{- define "gemma.secretData" -}}
{{- if not (hasKey .Values "made") -}}
{{- $there := (lookup "v1" "Secret" .Release.Namespace (include "gemma.secret" .)).data | default dict -}}
{{- $made := dict "api-key" (printf "gg_%s" (randAlphaNum 43) | b64enc) -}}
{{- range list "cache-salt-secret" "jwt-secret" "redis-password" -}}
{{- $_ := set $made . (randAlphaNum 43 | b64enc) -}}
{{- end -}}
{{- $_ := set .Values "made" (merge (deepCopy $there) $made) -}}
{{- end -}}
{{- toYaml .Values.made -}}
{{- end -}}

{{/* An annotation that changes with the chart's own Secret, all of it or one key, so that its pods are made anew. */}}
{{- define "gemma.secretChecksum" -}}
{{- if not .root.Values.auth.existingSecret -}}
{{- $data := include "gemma.secretData" .root | fromYaml -}}
{{- $read := toJson $data -}}
{{- with .key -}}
{{- $read = get $data . -}}
{{- end -}}
checksum/secret: {{ sha256sum $read }}
{{- end -}}
{{- end -}}
