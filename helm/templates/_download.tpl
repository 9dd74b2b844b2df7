{{/* Whether an init container downloads the model, so that the engine itself never asks Hugging Face. */}}
{{- define "gemma.downloads" -}}
{{- if and (eq .Values.profile "gpu") .Values.engine.modelCache.download -}}yes{{- end -}}
{{- end -}}

{{- define "gemma.model" -}}
{{- default "google/gemma-3n-E4B-it" (default dict .Values.settings.engine).model -}}
{{- end -}}

{{- define "gemma.huggingFaceToken" -}}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ .Values.huggingFace.existingSecret }}
      key: {{ .Values.huggingFace.secretKey }}
      optional: true
{{- end -}}

{{/* It has the engine's image, so that no other has to be pulled, and the engine's own variables, such as a proxy. */}}
{{- define "gemma.downloadContainer" -}}
- name: download
  image: {{ include "gemma.engineImage" . }}
  imagePullPolicy: {{ .Values.imagePullPolicy }}
  command:
    - python3
    - -c
    - |
      {{- .Files.Get "files/download.py" | nindent 6 }}
  env:
    - name: MODEL
      value: {{ include "gemma.model" . }}
    - name: REVISION
      value: {{ .Values.settings.engine.revision | quote }}
    - name: HOME
      value: /tmp
    - name: HF_HOME
      value: /models/huggingface
    {{- include "gemma.huggingFaceToken" . | nindent 4 }}
    {{- with .Values.engine.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.engine.extraEnvFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  resources:
    requests:
      cpu: 500m
      memory: 1Gi
    limits:
      cpu: "4"
      memory: 4Gi
  securityContext:
    {{- include "gemma.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: models
      mountPath: /models
    - name: tmp
      mountPath: /tmp
    {{- with .Values.engine.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
