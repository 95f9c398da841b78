{{- define "kyc-gateway.labels" -}}
{{ include "kyc-gateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "kyc-gateway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kyc-gateway.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "kyc-gateway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
# Through this group the gateway reads its keys.
fsGroup: 1000
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "kyc-gateway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "kyc-gateway.env" -}}
- name: HOST
  value: 0.0.0.0
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.existingSecret }}
      key: {{ .Values.secretKeys.databaseUrl }}
- name: ENCRYPTION_KEYS_FILE
  value: /run/secrets/kyc-gateway/encryption-keys
{{- range $name, $value := .Values.config }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "kyc-gateway.probes" -}}
ports:
  - name: http
    containerPort: 4000
startupProbe:
  httpGet:
    path: /health
    port: http
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /health
    port: http
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /ready
    port: http
  periodSeconds: 5
  timeoutSeconds: 6
  failureThreshold: 2
{{- end }}

{{- define "kyc-gateway.volumeMounts" -}}
- name: encryption-keys
  mountPath: /run/secrets/kyc-gateway
  readOnly: true
{{- end }}

{{- define "kyc-gateway.placement" -}}
volumes:
  - name: encryption-keys
    secret:
      secretName: {{ .Values.existingSecret }}
      defaultMode: 0440
      items:
        - key: {{ .Values.secretKeys.encryptionKeys }}
          path: encryption-keys
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "kyc-gateway.egress" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
    {{- range $port := .Values.networkPolicy.egressPorts }}
    - port: {{ $port }}
      protocol: TCP
    {{- end }}
{{- end }}
