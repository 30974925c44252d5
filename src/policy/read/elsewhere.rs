//! Keys that people who know Docker look for, and what to write instead.

const CAPABILITIES: &str =
    "is not a key; every capability is dropped but those in capabilities: list the ones that are to be kept";
const MOUNTS: &str = "is not a key; write mounts = [{ source = \"/srv/maps\", target = \"/maps\" }]";
const NAMESPACES: &str = "is not a key; a game container never shares a namespace with its host or with another one";

/// What to do about a key that is none of ours, where it is known from elsewhere.
pub(super) fn advice(key: &str) -> Option<&'static str> {
    Some(match key.trim().to_lowercase().replace('_', "-").as_str() {
        "privileged" => {
            "is not a key; no game container is ever privileged: list the capabilities it needs in capabilities"
        }
        "cap-drop" | "cap-add" | "capdrop" | "capadd" => CAPABILITIES,
        "mount" | "volumes" | "volume" | "binds" | "bind" => MOUNTS,
        "pid" | "ipc" | "uts" | "userns" | "userns-mode" | "cgroupns" | "pid-mode" | "ipc-mode" => NAMESPACES,
        "devices" | "device" => "is not a key; devices of the host are not given to games, except GPUs by gpus",
        "security-opt" => "is not a key; write no-new-privileges = true, or choose a runtime",
        "restart" | "restart-policy" => "is not a key; the engine never restarts a game: a new job starts it again",
        "ports" | "port" | "publish" => "is not a key; the settings engine-port, port-range and publish-address say it",
        "environment" | "env-file" => "is not a key; write [defaults.env], with NAME = \"value\" below it",
        "mem-limit" | "memory-limit" | "mem" => "is not a key; write memory = \"512MiB\"",
        "memory-swap" | "memswap-limit" | "swap" => "is not a key; memory is the limit with swap included",
        "pids-limit" | "nproc" => "is not a key; write pids = 200",
        "cpu" | "cpu-limit" | "cpu-quota" | "nano-cpus" => "is not a key; write cpus = 1.5",
        "stop-timeout" | "stop-grace-period" => "is not a key; write stop-grace = \"10s\"",
        "log-opt" | "log-driver" | "logging" => {
            "is not a key; write log-max-size and log-files; the engine's own configuration chooses the log driver"
        }
        "images" | "allow" | "allowed" => "is not a key; write allowed-images, or an [[image]] for each kind of image",
        "default" => "is not a key; write [defaults]",
        _ => return None,
    })
}
