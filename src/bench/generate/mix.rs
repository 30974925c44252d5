//! What is sent: jobs as Lobby sends them, and what a clumsy or hostile sender might send. Pure; the same seed and
//! number give the same entry.

use fastrand::Rng;
use serde::Serialize;

use crate::bench::rig::wire::Sender;
use crate::lobby::accounting::Sent;

/// Shares of the kinds of entries, each between 0 and 1; the rest are ordinary jobs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Mix {
    /// Entries that are no job.
    pub(crate) malformed: f64,
    /// Jobs for a game that an earlier entry has named, with the same image.
    pub(crate) duplicate: f64,
    /// The same with another image.
    pub(crate) conflict: f64,
    /// Jobs that kill the process that starts them.
    pub(crate) poison: f64,
    /// Jobs with a large field that no replica reads.
    pub(crate) huge: f64,
    /// Entries with bytes that are no text: half of them in a field that no replica reads, half in the game's name.
    pub(crate) binary: f64,
    /// Which games.
    pub(crate) games: Games,
}

/// Which games the ordinary jobs are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Games {
    /// Each for a game of its own.
    #[default]
    Fresh,
    /// Of so many games, each as likely.
    Uniform(u64),
    /// Of so many games, the first ones far likelier: the rank's logarithm is uniform.
    Zipf(u64),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// Names and values.
    pub(crate) fields: Vec<(&'static str, Vec<u8>)>,
    /// What is due for it.
    pub(crate) due: Sent,
}

/// The image of ordinary jobs.
pub(crate) const IMAGE: &str = "galaxy/engine:1";
const OTHER_IMAGE: &str = "galaxy/engine:2";
const POISON_IMAGE: &str = "sim/abort";
const HUGE_BYTES: usize = 256 << 10;
/// How far back a duplicate looks.
const AGAIN_WITHIN: u64 = 200;

impl Games {
    /// `fresh`, `uniform:100` or `zipf:100`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, count) = text.split_once(':').unwrap_or((text, ""));
        let count = || count.parse().ok().filter(|&count: &u64| count > 0);
        match (name, count()) {
            ("fresh", None) if text == "fresh" => Ok(Self::Fresh),
            ("uniform", Some(count)) => Ok(Self::Uniform(count)),
            ("zipf", Some(count)) => Ok(Self::Zipf(count)),
            _ => Err("write fresh, uniform:COUNT or zipf:COUNT".to_owned()),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank between 0 and the count; precision beyond 2^52 games does not matter"
    )]
    fn draw(self, number: u64, rng: &mut Rng) -> u64 {
        match self {
            Self::Fresh => number,
            Self::Uniform(count) => rng.u64(0..count),
            Self::Zipf(count) => ((count as f64 + 1.0).powf(rng.f64()) as u64).clamp(1, count) - 1,
        }
    }
}

impl Mix {
    /// Whether the shares leave room for each other.
    pub(crate) fn check(&self) -> Result<(), String> {
        let shares = [self.malformed, self.duplicate, self.conflict, self.poison, self.huge, self.binary];
        if shares.iter().sum::<f64>() > 1.0 {
            return Err("the shares of the mix are more than 100 % together".to_owned());
        }
        Ok(())
    }

    /// The `number`th entry.
    pub(crate) fn message(&self, seed: u64, number: u64) -> Message {
        let mut rng = Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // The first draws of neighbouring seeds resemble each other.
        rng.u64(..);
        let lot = rng.f64();
        let mut below = 0.0;
        let mut is = |share: f64| {
            below += share;
            lot < below
        };
        let own = format!("bench-{}", self.games.draw(number, &mut rng));
        let earlier = number.checked_sub(1 + rng.u64(0..AGAIN_WITHIN)).map(|earlier| format!("bench-{earlier}"));
        if is(self.malformed) {
            return Message { fields: vec![("game_id", own.into_bytes())], due: Sent::Malformed };
        }
        if is(self.duplicate) {
            return job(earlier.unwrap_or(own), IMAGE);
        }
        if is(self.conflict) {
            return job(earlier.unwrap_or(own), OTHER_IMAGE);
        }
        if is(self.poison) {
            return job(format!("bench-poison-{number}"), POISON_IMAGE);
        }
        if is(self.huge) {
            let mut message = job(own, IMAGE);
            message.fields.push(("blob", vec![b'x'; HUGE_BYTES]));
            return message;
        }
        if is(self.binary) {
            let bytes: Vec<u8> = (0..64).map(|_| rng.u8(128..)).collect();
            if rng.bool() {
                let mut message = job(own, IMAGE);
                message.fields.push(("blob", bytes));
                return message;
            }
            return Message { fields: vec![("game_id", bytes), ("image_ref", IMAGE.into())], due: Sent::Malformed };
        }
        job(own, IMAGE)
    }
}

fn job(game: String, image: &str) -> Message {
    Message { fields: vec![("game_id", game.into_bytes()), ("image_ref", image.into())], due: Sent::Job }
}

impl Message {
    /// Puts the XADD of this entry into the sender's buffer. The number finds the entry again where the answer to the
    /// XADD was lost; a worker does not look at it.
    pub(crate) fn put(&self, sender: &mut Sender, stream: &str, requested_at_ms: u64, number: u64) {
        sender.begin(3 + 2 * (self.fields.len() + 2));
        for word in [b"XADD", stream.as_bytes(), b"*"] {
            sender.word(word);
        }
        for (name, value) in &self.fields {
            sender.word(name.as_bytes());
            sender.word(value);
        }
        for (name, value) in [("requested_at_ms", requested_at_ms), (NUMBER_FIELD, number)] {
            sender.word(name.as_bytes());
            sender.word(value.to_string().as_bytes());
        }
    }
}

/// The field that says which entry of the run it is.
pub(crate) const NUMBER_FIELD: &str = "bench_number";

#[cfg(test)]
mod tests {
    use super::Rng;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_come_out_as_asked_and_repeat() {
        let mix = Mix { malformed: 0.1, poison: 0.05, duplicate: 0.2, ..Mix::default() };
        let all: Vec<Message> = (0..10_000).map(|number| mix.message(7, number)).collect();
        let malformed = all.iter().filter(|one| one.due == Sent::Malformed).count();
        assert!((850..1_150).contains(&malformed), "{malformed}");
        let poison =
            all.iter().filter(|one| one.fields.iter().any(|(_, value)| value == POISON_IMAGE.as_bytes())).count();
        assert!((400..600).contains(&poison), "{poison}");
        assert_eq!(mix.message(7, 9_999), all[9_999]);
        assert_ne!((0..50).map(|n| mix.message(8, n)).collect::<Vec<_>>(), all[..50]);
    }

    #[test]
    fn games_are_named_and_refused() {
        assert_eq!(Games::parse("zipf:10"), Ok(Games::Zipf(10)));
        assert_eq!(Games::parse("fresh"), Ok(Games::Fresh));
        for bad in ["", "fresh:1", "uniform", "uniform:0", "zipf:x", "other:3"] {
            assert!(Games::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_game_is_one_of_those(seed: u64, number: u64, count in 1_u64..1_000_000) {
            let mut rng = Rng::with_seed(seed);
            prop_assert!(Games::Zipf(count).draw(number, &mut rng) < count);
            prop_assert!(Games::Uniform(count).draw(number, &mut rng) < count);
        }
    }
}
