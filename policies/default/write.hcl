# What the people who keep the environment's secrets may do. Nothing outside of the environment, not
# even its name: a listing of the whole mount would show the other environments.
path "$kv_mount/data/$env/*" {
  capabilities = ["create", "read", "update", "patch", "delete"]
}

path "$kv_mount/metadata/$env/*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list"]
}

path "$kv_mount/subkeys/$env/*" {
  capabilities = ["read"]
}

path "$kv_mount/delete/$env/*" {
  capabilities = ["create", "update"]
}

path "$kv_mount/undelete/$env/*" {
  capabilities = ["create", "update"]
}

path "$kv_mount/destroy/$env/*" {
  capabilities = ["create", "update"]
}
