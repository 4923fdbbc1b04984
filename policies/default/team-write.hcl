# What a team's people may do: one block for each of the team's namespaces, and nothing beside them.
path "$kv_mount/data/$env/$cluster/$namespace/*" {
  capabilities = ["create", "read", "update", "patch", "delete"]
}

path "$kv_mount/metadata/$env/$cluster/$namespace/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}

path "$kv_mount/subkeys/$env/$cluster/$namespace/*" {
  capabilities = ["read"]
}

path "$kv_mount/delete/$env/$cluster/$namespace/*" {
  capabilities = ["create", "update"]
}

path "$kv_mount/undelete/$env/$cluster/$namespace/*" {
  capabilities = ["create", "update"]
}

path "$kv_mount/destroy/$env/$cluster/$namespace/*" {
  capabilities = ["create", "update"]
}
