path "$kv_mount/data/$env/*" {
  capabilities = ["create", "read", "update", "delete", "list", "sudo"]
}

path "$kv_mount/*" {
  capabilities = ["list"]
}

path "$kv_mount/metadata/$env/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]
}
