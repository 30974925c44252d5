//! Writing down what an operator has done, among the events.

use super::config::Config;
use super::fleet_event::FleetEvent;
use super::group::Group;
use super::lua;
use crate::redis::packed::Strings;
use crate::redis::{Connection, RedisError, Script, Value};

/// Writes events of operators.
#[derive(Debug)]
pub(super) struct Notes {
    events: String,
    group: String,
    script: Script,
}

impl Notes {
    /// To the events beside this stream. Touches nothing.
    pub(super) fn new(streams: &Config) -> Self {
        Self { events: super::keys::Keys::new(streams).events, group: streams.group.clone(), script: lua::note() }
    }

    /// Writes one.
    pub(super) async fn write(&self, connection: &Connection, event: &FleetEvent) -> Result<(), RedisError> {
        let mut strings = Strings::expecting(256);
        event.push(&mut strings);
        let args: Vec<Value> = vec![self.group.as_str().into(), strings.into_array()?.into()];
        self.script.run(connection, vec![self.events.as_str()], args).await.map(drop)
    }
}

impl Group {
    /// Writes down what an operator has done. Where that is refused, what was done stays done.
    pub(crate) async fn note(&self, event: &FleetEvent) -> Result<(), RedisError> {
        Notes::new(&self.settings).write(&self.commands, event).await
    }
}
