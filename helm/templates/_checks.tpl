{{/* What no schema can tell: values that are each allowed and do not fit together. */}}
{{- define "gemma.checks" -}}
{{- $gateway := .Values.gateway -}}
{{- $engine := .Values.engine -}}
{{- if and (not .Values.redis.enabled) (not .Values.externalRedis.existingSecret) -}}
{{- fail "externalRedis.existingSecret: name a Secret with the URL of a Redis, or leave redis.enabled at true" -}}
{{- end -}}
{{- if and .Values.redis.enabled (default dict .Values.settings.redis).sentinels -}}
{{- fail "settings.redis.sentinels: the chart's own Redis has none; set redis.enabled to false and externalRedis.existingSecret" -}}
{{- end -}}
{{- if and (not $engine.enabled) (not $engine.externalUrls) -}}
{{- fail "engine.externalUrls: name at least one engine, or leave engine.enabled at true" -}}
{{- end -}}
{{- if and $engine.enabled $engine.externalUrls -}}
{{- fail "engine.externalUrls: gateways would ask the chart's own engines alone; set engine.enabled to false, or leave this empty" -}}
{{- end -}}
{{- $grace := int $gateway.terminationGracePeriodSeconds -}}
{{- if and $grace (le $grace (int (add $gateway.preStopSeconds $gateway.drainSeconds))) -}}
{{- fail "gateway.terminationGracePeriodSeconds: must be above gateway.preStopSeconds + gateway.drainSeconds; 0 computes it" -}}
{{- end -}}
{{- $grace := int $engine.terminationGracePeriodSeconds -}}
{{- if and $grace (le $grace (int (add $engine.preStopSeconds $engine.shutdownTimeoutSeconds))) -}}
{{- fail "engine.terminationGracePeriodSeconds: must be above engine.preStopSeconds + engine.shutdownTimeoutSeconds; 0 computes it" -}}
{{- end -}}
{{- range $name, $part := dict "gateway" $gateway "engine" $engine -}}
{{- if and $part.autoscaling.enabled (gt (int $part.autoscaling.minReplicas) (int $part.autoscaling.maxReplicas)) -}}
{{- fail (printf "%s.autoscaling.minReplicas: must not be above maxReplicas" $name) -}}
{{- end -}}
{{- $least := int (ternary $part.autoscaling.minReplicas $part.replicas $part.autoscaling.enabled) -}}
{{- if and $part.podDisruptionBudget.enabled (gt $least 1) (ge (int $part.podDisruptionBudget.minAvailable) $least) -}}
{{- fail (printf "%s.podDisruptionBudget.minAvailable: must be below the %d replicas, or no node could ever be drained" $name $least) -}}
{{- end -}}
{{- end -}}
{{- $most := int (ternary $engine.autoscaling.maxReplicas $engine.replicas $engine.autoscaling.enabled) -}}
{{- if and $engine.enabled $engine.modelCache.enabled $engine.modelCache.existingClaim (gt $most 1) (not (has $engine.modelCache.accessMode (list "ReadWriteMany" "ReadOnlyMany"))) -}}
{{- fail "engine.modelCache.existingClaim: one claim for several engines has to be ReadWriteMany or ReadOnlyMany; set engine.modelCache.accessMode to what it is" -}}
{{- end -}}
{{- if and (eq $engine.modelCache.accessMode "ReadOnlyMany") (not $engine.offline) -}}
{{- fail "engine.offline: must be true where engine.modelCache.accessMode is ReadOnlyMany: nothing can be downloaded into it" -}}
{{- end -}}
{{- if include "gemma.downloads" . -}}
{{- if not (regexMatch "^[0-9a-f]{40}$" (default "" (default dict .Values.settings.engine).revision)) -}}
{{- fail "engine.modelCache.download: pin the model by settings.engine.revision, a commit of 40 hexadecimal digits" -}}
{{- end -}}
{{- if or $engine.offline (eq $engine.modelCache.accessMode "ReadOnlyMany") -}}
{{- fail "engine.modelCache.download: nothing can be downloaded with engine.offline or into a ReadOnlyMany claim" -}}
{{- end -}}
{{- if hasPrefix "/" (include "gemma.model" .) -}}
{{- fail "engine.modelCache.download: settings.engine.model is a folder, which is not downloaded" -}}
{{- end -}}
{{- end -}}
{{- $policy := .Values.networkPolicy -}}
{{- $confined := and $engine.enabled $policy.enabled (or $engine.offline (not $policy.engineInternet)) (not $policy.engineExtraEgress) -}}
{{- if and $confined (default dict .Values.settings.prompt).media_hosts -}}
{{- fail "settings.prompt.media_hosts: the engine fetches these images, and with engine.offline or without networkPolicy.engineInternet it gets nowhere; let it out by networkPolicy.engineExtraEgress" -}}
{{- end -}}
{{- if and $engine.enabled (eq .Values.profile "gpu") (lt (int $engine.gpu.count) 1) -}}
{{- fail "engine.gpu.count: the profile gpu needs at least 1; `--set profile=demo` needs no GPU" -}}
{{- end -}}
{{- $arguments := join " " (default list (default dict .Values.settings.engine).extra_args) -}}
{{- if contains "tensor-parallel-size" $arguments -}}
{{- $asked := int (regexReplaceAll "^.*tensor-parallel-size[= ]+([0-9]+).*$" $arguments "${1}") -}}
{{- if gt $asked (int $engine.gpu.count) -}}
{{- fail (printf "settings.engine.extra_args: tensor-parallel-size %d needs as many GPUs; engine.gpu.count is %d" $asked (int $engine.gpu.count)) -}}
{{- end -}}
{{- end -}}
{{- range list $gateway.image $engine.image .Values.redis.image -}}
{{- if eq .tag "latest" -}}
{{- fail "image.tag: `latest` is another image tomorrow; name a version or a digest" -}}
{{- end -}}
{{- end -}}
{{- range $name, $part := dict "gateway" $gateway "engine" $engine -}}
{{- range $part.extraEnv -}}
{{- if and (hasKey . "value") (regexMatch "(^|_)(KEYS?|SECRET|TOKEN|PASSWORD|REDIS__URL)$" (default "" .name)) -}}
{{- fail (printf "%s.extraEnv: %s as plain text would be in the release and the pod for many to read; give it by valueFrom.secretKeyRef" $name .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts: name at least one host" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: name the Gateway that the route belongs to" -}}
{{- end -}}
{{- end -}}
