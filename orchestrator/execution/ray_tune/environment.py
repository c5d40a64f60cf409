"""Sets the environment variables of Ray, Tune and the workers. Import it before Ray, which reads some of them at its import."""

import logging
import os

VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # The new output prints its tables at any verbosity.
    "RAY_AIR_NEW_OUTPUT": "0",
    # Workers inherit these two. By default glibc gives every large tensor back to the system and faults its pages in again: a step of 256
    # examples of MNIST-SVHN-Text with small networks took a third longer without these settings. A threshold would not do in place of "no
    # mappings", since glibc takes none above 32 MB: a step of MVAE on CelebA has larger tensors, and lost 0.1 of its 0.8 core seconds.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
    # No snapshots of Tune's state: they grow with the trials, and none is ever read.
    "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Despite its name: with 0, Ray takes 127.0.0.1 for this machine's address, and all its servers listen only there. The argument
`_node_ip_address` cannot do that: ray.init turns loopback into the machine's outer address."""

for name, value in VARIABLES.items():
    os.environ.setdefault(name, value)
if os.environ.get("RAY_ADDRESS", "local") == "local":
    os.environ.setdefault(LOOPBACK, "0")
for noisy in ("ray.tune", "ray.air"):  # they log a traceback for every killed worker; its error is reported, and is in the ledger
    logging.getLogger(noisy).setLevel(logging.CRITICAL)
