//! How far a pull of an image has come.

use std::collections::HashMap;

/// A step of a pull, for crash hooks, logs and operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullStep {
    /// The pull is about to start.
    Starting,
    /// The registry has begun to answer.
    Receiving,
    /// More of the image is here.
    Received(PullProgress),
}

/// What is here of an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// Bytes of the layers that have been received.
    pub bytes: u64,
    /// Bytes of the layers whose size is known so far.
    pub total: u64,
    /// Layers that the engine has named so far.
    pub layers: u32,
    /// Layers that are complete.
    pub layers_done: u32,
}

/// Layers that are told apart; images have 127 at most.
const LAYERS_MAX: usize = 256;

/// A download that breaks after so many bytes is worth going on with. One that always breaks sooner never ends.
const MUCH: u64 = 1 << 20;

/// What a line of a pull says about one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayerStep {
    /// It is wanted.
    Named,
    /// So many bytes of so many have been received; the total may not be known.
    Received(u64, u64),
    /// It has been received as a whole, and is being unpacked; how far that has come.
    Unpacked(u64),
    /// It is on the engine.
    Done,
    /// The engine could not read it to its end, and waits so many seconds before it tries again.
    Retried(u64),
}

#[derive(Debug, Clone, Copy, Default)]
struct Layer {
    bytes: u64,
    total: u64,
    unpacked: u64,
    is_whole: bool,
    is_done: bool,
    /// How often its download was begun again since one of them brought much.
    retries: u32,
    /// How long the engine still waits; none where it does not.
    waits_s: Option<u64>,
}

/// The layers of one pull.
#[derive(Debug, Default)]
pub(crate) struct Layers(HashMap<String, Layer>);

/// What a line meant for the pull as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// There is more of the image than before.
    Further,
    /// There is not.
    Nothing,
    /// A download was begun again so often, and brought little each time.
    Retried(u32),
}

impl Layers {
    /// Notes what a line says.
    pub(crate) fn note(&mut self, id: &str, step: LayerStep) -> Noted {
        if !self.0.contains_key(id) && self.0.len() >= LAYERS_MAX {
            return Noted::Nothing;
        }
        let is_new = !self.0.contains_key(id);
        let layer = self.0.entry(id.to_owned()).or_default();
        let before = (layer.bytes, layer.unpacked, layer.is_whole, layer.is_done);
        match step {
            LayerStep::Named => {}
            LayerStep::Received(bytes, total) => {
                layer.waits_s = None;
                if bytes >= MUCH {
                    layer.retries = 0;
                }
                // A download that begins again does not take back what was there.
                layer.bytes = layer.bytes.max(bytes);
                layer.total = layer.total.max(total).max(bytes);
            }
            LayerStep::Unpacked(bytes) => {
                (layer.is_whole, layer.bytes) = (true, layer.total);
                layer.unpacked = layer.unpacked.max(bytes);
            }
            LayerStep::Done => (layer.is_whole, layer.is_done, layer.bytes) = (true, true, layer.total),
            LayerStep::Retried(seconds) => {
                // It counts down the seconds, and from a higher number at each try. Where nothing arrives in between, it
                // says nothing in between.
                if layer.waits_s.replace(seconds).is_none_or(|before| seconds > before) {
                    layer.retries = layer.retries.saturating_add(1);
                }
                return Noted::Retried(layer.retries);
            }
        }
        let after = (layer.bytes, layer.unpacked, layer.is_whole, layer.is_done);
        if is_new || before != after { Noted::Further } else { Noted::Nothing }
    }

    /// The sum over all layers.
    pub(crate) fn progress(&self) -> PullProgress {
        let mut sum = PullProgress::default();
        for layer in self.0.values() {
            sum.bytes = sum.bytes.saturating_add(layer.bytes);
            sum.total = sum.total.saturating_add(layer.total);
            sum.layers += 1;
            sum.layers_done += u32::from(layer.is_done);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_summed_and_never_shrink() {
        let mut layers = Layers::default();
        assert_eq!(layers.note("a", LayerStep::Named), Noted::Further);
        assert_eq!(layers.note("a", LayerStep::Named), Noted::Nothing);
        assert_eq!(layers.note("a", LayerStep::Received(10, 100)), Noted::Further);
        assert_eq!(layers.note("a", LayerStep::Received(5, 100)), Noted::Nothing);
        assert_eq!(layers.note("b", LayerStep::Done), Noted::Further);
        let expected = PullProgress { bytes: 10, total: 100, layers: 2, layers_done: 1 };
        assert_eq!(layers.progress(), expected);
        assert_eq!(layers.note("a", LayerStep::Unpacked(1)), Noted::Further);
        assert_eq!(layers.progress().bytes, 100);
        assert_eq!(layers.note("a", LayerStep::Done), Noted::Further);
        assert_eq!(layers.progress().layers_done, 2);
    }

    #[test]
    fn a_retry_counts_once_until_much_arrives() {
        let mut layers = Layers::default();
        for seconds in (1..=5).rev() {
            assert_eq!(layers.note("a", LayerStep::Retried(seconds)), Noted::Retried(1));
        }
        // Engines leave out the line of a download that brings nothing.
        assert_eq!(layers.note("a", LayerStep::Retried(10)), Noted::Retried(2));
        assert_eq!(layers.note("a", LayerStep::Received(0, 9)), Noted::Nothing);
        assert_eq!(layers.note("a", LayerStep::Retried(9)), Noted::Retried(3));
        assert_eq!(layers.note("a", LayerStep::Received(1, 9)), Noted::Further);
        assert_eq!(layers.note("a", LayerStep::Retried(15)), Noted::Retried(4));
        assert_eq!(layers.note("a", LayerStep::Received(MUCH, MUCH)), Noted::Further);
        assert_eq!(layers.note("a", LayerStep::Retried(20)), Noted::Retried(1));
    }

    #[test]
    fn layers_are_bounded() {
        let mut layers = Layers::default();
        for number in 0..10_000 {
            layers.note(&number.to_string(), LayerStep::Received(1, 1));
        }
        assert_eq!(layers.progress().layers, 256);
    }
}
