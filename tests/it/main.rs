//! One integration binary. Every test starts the real servers it needs and stops them by pid.

#![expect(unreachable_pub, reason = "a test binary exports nothing, so pub is as wide as pub(crate)")]

mod support;

// the settings, as a library and through the command
mod settings;
// a fleet on a real redis-server
mod fleet;
// a host that answers and starts nothing
mod sick_host;
// replicas that die at every point
mod crash_points;
// replicas that stand still and wake up
mod zombies;
// the original worker's offset, taken over and given back
mod legacy_offset;
// Redis goes away and comes back
mod outages;
// a master with replicas and sentinels, and every kind of failover
mod sentinel;
// the network fails in every way and is healthy again
mod network;
// network, processes, Redis and large entries, all at once
mod mixed;
// connections that are refused, unanswered, or lead to a server that cannot be used
mod connections;
// a subscription that comes back after each loss
mod subscription;
// what operators read when Redis cannot be reached or refuses
mod error_words;
// a server that postpones what its clients ask
mod paused;
// encrypted connections, and every way in which they are refused
mod encrypted;
// entries of any size
mod large_messages;
// replicas that are told to stop
mod shutdown;
// a game's record, call by call
mod records;
// the group's scripts, call by call
mod scripts;
// what the start service promises, and entries of every shape
mod start_service;
// the simulated engine on a real redis-server
mod simulated_engine;
// the Docker engine on a private dockerd
mod docker_engine;
// what hosts ask of a Docker engine: marks, events, addresses and ports
mod docker_engine_hosts;
// what a container may use and do, on a Docker engine
mod sandbox;
// ten ordinary images without a policy
mod ordinary_images;
// what a Docker engine says of images that can never start
mod docker_engine_blame;
// an engine that answers wrongly, for ever, or not at all
mod engine_faults;
// every error code, produced by what it is about
mod error_table;
// a fleet that starts real containers
mod docker_fleet;
// images that arrive from a registry
mod pulls;
// traces: what a collector gets of a job, and collectors that fail
mod traces;
// the document of the streams against real entries
mod asyncapi;
// the auditor: clean on a fleet, and every broken worker caught
mod audit;
// the operator's side of the dead letters
mod dead;
// the commands of operators
mod ops;
// what a worker shows of itself: HTTP, metrics, systemd, its log
mod observability;
// the page for people
mod page;
// the page in a real browser
mod browser;
// single jobs: cancelled, or tried again at once
mod marks;
// games and hosts: shown, stopped, given up
mod runtime;
// which images may run: checked, explained, obeyed, read again
mod policy;
// rules about the tree itself
mod tidy;
// the words of documents, help and log lines
mod prose;
// rules about which file may name what
mod tidy_imports;
// claims, suspects, orphans, janitor, reconciler
mod recovery;
// who is dead, what a death counts, who may claim
mod claims;
// deaths that are noticed at once, and living replicas that are not taken for dead
mod liveness;
// the commands for people
mod commands;
// a replica dies, and the terminal tells what happened
mod first_night;
// several hosts on one machine, and one of them dies
mod dev_hosts;
// the tutorial for a producer: its commands run, and print what it shows
mod first_job;
// the recorded run of `startjobs dev`
mod dev_run;
// a failover that it shows
mod dev_sentinel;
// the load generator as a command
mod bench;
// clocks that are wrong, or are set
mod clocks;
// scripts touch no key that they do not name
mod declared_keys;
// the fault matrix: refusals, wrong types, streams, budgets, upkeep
mod fault_matrix;
// the files of deploy/, and what its documents say
mod deploy;
// from the version before to this one and back
mod upgrade;
// other versions of Redis
mod versions;
// what ends an entry's stay: max-run, retry-max-age, ledger-ttl, another host
mod limits;
// an append-only file that has lost its end
mod truncated_aof;
// another kind of job than start jobs, in replicas of its own
mod other_handler;
// one fleet over three hosts with real engines
mod hosts;
// jobs that belong to a host
mod handover;
// what a game container reaches around it
mod surroundings;
