path "$kv_mount/data/$env/$cluster/$namespace/*" {
  capabilities = ["read", "list"]
}
