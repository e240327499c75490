import argon2

hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
