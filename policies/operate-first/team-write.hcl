path "$kv_mount/data/$env/$cluster/$namespace/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}

path "$kv_mount/metadata/$env/$cluster/$namespace/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}
