{{/* What every pod of this chart has. */}}
{{- define "gemma.pod" -}}
serviceAccountName: {{ include "gemma.serviceAccount" .root }}
automountServiceAccountToken: false
# A Service called `vllm` or `gemma-…` would else become variables that vLLM and our settings read as theirs.
enableServiceLinks: false
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "gemma.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities:
  drop: [ALL]
{{- end -}}

{{/* A sleep before SIGTERM, while Services and load balancers learn that this pod is going. */}}
{{- define "gemma.preStop" -}}
{{- if gt (int .seconds) 0 }}
lifecycle:
  preStop:
    {{- if semverCompare ">=1.30.0-0" .root.Capabilities.KubeVersion.Version }}
    sleep:
      seconds: {{ .seconds }}
    {{- else }}
    exec:
      command: [sleep, {{ .seconds | quote }}]
    {{- end }}
{{- end }}
{{- end -}}

{{/* The sum that Kubernetes has to wait before it kills: the sleep, the drain and a margin for the last writes. */}}
{{- define "gemma.gatewayGrace" -}}
{{- $needed := add .Values.gateway.preStopSeconds .Values.gateway.drainSeconds 10 -}}
{{- default $needed (int .Values.gateway.terminationGracePeriodSeconds) -}}
{{- end -}}

{{- define "gemma.engineGrace" -}}
{{- $needed := add .Values.engine.preStopSeconds .Values.engine.shutdownTimeoutSeconds 15 -}}
{{- default $needed (int .Values.engine.terminationGracePeriodSeconds) -}}
{{- end -}}

{{- define "gemma.gatewayLeast" -}}
{{- ternary .Values.gateway.autoscaling.minReplicas .Values.gateway.replicas .Values.gateway.autoscaling.enabled -}}
{{- end -}}

{{- define "gemma.engineLeast" -}}
{{- ternary .Values.engine.autoscaling.minReplicas .Values.engine.replicas .Values.engine.autoscaling.enabled -}}
{{- end -}}

{{/* How many pods a node drain may take at once. One that is not ready serves nobody, so it holds no drain up. */}}
{{- define "gemma.budget" -}}
{{- if .minAvailable -}}
minAvailable: {{ .minAvailable }}
{{- else -}}
maxUnavailable: {{ default 1 .maxUnavailable }}
{{- end }}
unhealthyPodEvictionPolicy: AlwaysAllow
{{- end -}}

{{- define "gemma.redisEnvironment" -}}
{{- if .Values.redis.enabled }}
- name: GEMMA_REDIS__URL
  value: redis://{{ include "gemma.fullname" . }}-redis:6379/0
# Not in the URL, which a slash or a number sign in it would cut short.
- name: GEMMA_REDIS__PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "gemma.secret" . }}
      key: redis-password
{{- else }}
- name: GEMMA_REDIS__URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.externalRedis.existingSecret }}
      key: {{ .Values.externalRedis.secretKey }}
{{- if (default dict .Values.settings.redis).sentinels }}
- name: GEMMA_REDIS__SENTINEL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .Values.externalRedis.existingSecret }}
      key: sentinel-password
      optional: true
{{- end }}
{{- end }}
{{- end -}}

{{/* The way to the cluster's DNS. Policies see the pods' own ports, which need not be those of its Service. */}}
{{- define "gemma.dnsEgress" -}}
- ports:
    {{- range default (list 53) .Values.networkPolicy.dnsPorts }}
    - port: {{ . }}
      protocol: UDP
    - port: {{ . }}
      protocol: TCP
    {{- end }}
{{- end -}}

{{- define "gemma.monitored" -}}
{{- $there := .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" -}}
{{- if or (eq .Values.monitoring.mode "always") (and (eq .Values.monitoring.mode "auto") $there) -}}yes{{- end -}}
{{- end -}}
