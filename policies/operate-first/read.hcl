path "$kv_mount/data/$scope_path/*" {
  capabilities = ["read", "list"]
}
