# What a team's workloads may read through External Secrets: one block for each of its namespaces.
path "$kv_mount/data/$env/$cluster/$namespace/*" {
  capabilities = ["read"]
}

path "$kv_mount/metadata/$env/$cluster/$namespace/*" {
  capabilities = ["read", "list"]
}
