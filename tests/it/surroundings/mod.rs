//! What a game container reaches around it, tried by one: the engine, Redis, the machine it runs on, and the metadata address of
//! a cloud. The machine is a network of its own, with an engine whose rules of iptables are its own, too.

// the machine, and another one beside it
mod network;
// a container that tries
pub mod attacker;
// the fleet of deploy/compose.yaml, which is brought up elsewhere
mod composed;
// the rules of deploy/firewall
mod rules;
// what the threat model claims, and the tests that it names
mod claims;

pub use self::composed::no_game_reaches_engine_or_redis;
pub use self::network::Surroundings;
