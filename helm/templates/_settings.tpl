{{/* The settings that this chart decides, over those of the user. The engine gets its own group and the hosts of images
     only, so that a change of a limit does not load the model anew. */}}
{{- define "gemma.servedModel" -}}
{{- $given := default dict .Values.settings.engine -}}
{{- default (ternary "gemma-3n-demo" "gemma-3n" (eq .Values.profile "demo")) $given.served_model_name -}}
{{- end -}}

{{- define "gemma.engineGroup" -}}
{{- $given := deepCopy (default dict .Values.settings.engine) -}}
{{- $extra := default list $given.extra_args -}}
{{- $count := int .Values.engine.gpu.count -}}
{{- if and (eq .Values.profile "gpu") (gt $count 1) (not (contains "tensor-parallel-size" (join " " $extra))) -}}
{{- $extra = concat $extra (list (printf "--tensor-parallel-size=%d" $count)) -}}
{{- end -}}
{{- if $extra -}}
{{- $_ := set $given "extra_args" $extra -}}
{{- end -}}
{{- $own := dict "profile" .Values.profile
    "startup_timeout_seconds" .Values.engine.startupTimeoutSeconds
    "shutdown_timeout_seconds" .Values.engine.shutdownTimeoutSeconds -}}
{{- toYaml (merge $own $given) -}}
{{- end -}}

{{- define "gemma.engineSettings" -}}
{{- $group := include "gemma.engineGroup" . | fromYaml -}}
{{- $_ := set $group "host" "0.0.0.0" -}}
{{- $_ := set $group "port" 8100 -}}
{{- $settings := dict "engine" $group "data_dir" "/data" -}}
{{- with (default dict .Values.settings.prompt).media_hosts -}}
{{- $_ := set $settings "prompt" (dict "media_hosts" .) -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* Host names by which the cluster, `helm test` and a port-forward ask the gateway. */}}
{{- define "gemma.ownHosts" -}}
{{- $service := include "gemma.fullname" . -}}
{{- $inNamespace := printf "%s.%s" $service .Release.Namespace -}}
{{- list $service $inNamespace (printf "%s.svc" $inNamespace) "127.0.0.1" "localhost" | toYaml -}}
{{- end -}}

{{- define "gemma.gatewaySettings" -}}
{{- $given := deepCopy .Values.settings -}}
{{- $own := dict "host" "0.0.0.0" "port" 8000 "drain_seconds" .Values.gateway.drainSeconds -}}
{{- $trusted := default list (default dict $given.server).trusted_hosts -}}
{{- if and $trusted (not (has "*" $trusted)) -}}
{{- $_ := set $own "trusted_hosts" (concat $trusted (include "gemma.ownHosts" . | fromYamlArray) | uniq) -}}
{{- end -}}
{{- $server := merge $own (default dict $given.server) -}}
{{- $telemetry := merge (dict "metrics_port" 9100) (default dict $given.telemetry) -}}
{{- $where := dict "engines" .Values.engine.externalUrls -}}
{{- if .Values.engine.enabled -}}
{{- $where = dict "dns" (printf "%s-engine.%s.svc:8100" (include "gemma.fullname" .) .Release.Namespace) -}}
{{- end -}}
{{- $routing := merge $where (default dict $given.routing) -}}
{{- $engine := include "gemma.engineGroup" . | fromYaml -}}
{{- toYaml (merge (dict "server" $server "routing" $routing "engine" $engine "telemetry" $telemetry "data_dir" "/data") $given) -}}
{{- end -}}
