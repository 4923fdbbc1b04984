# What workloads of the environment may read through External Secrets.
# KV version 2: values lie below data/, names and listings below metadata/ (dataFrom.find lists).
path "$kv_mount/data/$scope_path/*" {
  capabilities = ["read"]
}

path "$kv_mount/metadata/$scope_path/*" {
  capabilities = ["read", "list"]
}
