//! One integration binary. Every test starts the real servers it needs and stops them by pid.

mod support;

// the settings, as a library and through the command
mod settings;
// a fleet on a real redis-server
mod fleet;
