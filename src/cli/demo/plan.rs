//! What the demonstration sends. Pure, and the same for the same seed.

use fastrand::Rng;

/// One entry to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A well-formed job.
    Job {
        /// The game.
        game: String,
        /// Its image.
        image: String,
    },
    /// An entry without an image.
    Malformed {
        /// The game.
        game: String,
    },
}

/// The image that nearly every job asks for.
pub(super) const IMAGE: &str = "galaxy/engine:1";
const OTHER_IMAGE: &str = "galaxy/engine:2";
/// A game is asked for again only this many entries later, so that it mostly runs by then.
const AGAIN_AFTER: usize = 10;

/// `count` entries: mostly fresh games; about one in ten asks again for a game, one in thirty asks for another image of
/// a game, and one in forty each is malformed, names an image that no registry has, or one whose engine exits at once.
pub(super) fn plan(count: usize, seed: u64) -> Vec<Entry> {
    let mut rng = Rng::with_seed(seed);
    // Every kind at least once, whatever the random numbers are.
    let mut kinds: Vec<u8> = (0..5).collect();
    kinds.extend((5..count).map(|_| match rng.u32(0..120) {
        0..12 => 0,
        12..16 => 1,
        16..19 => 2,
        19..22 => 3,
        22..25 => 4,
        _ => 5,
    }));
    rng.shuffle(&mut kinds);
    kinds.truncate(count);
    let mut entries = Vec::with_capacity(count);
    let mut games: Vec<String> = Vec::new();
    for (number, kind) in kinds.into_iter().enumerate() {
        let game = format!("game-{number:05}");
        let known = games.len().checked_sub(AGAIN_AFTER).map(|end| games[rng.usize(0..=end)].clone());
        let job = |game: String, image: &str| Entry::Job { game, image: image.to_owned() };
        entries.push(match (kind, known) {
            (0, Some(known)) => job(known, IMAGE),
            (1, Some(known)) => job(known, OTHER_IMAGE),
            (2, _) => Entry::Malformed { game },
            (3, _) => job(game, "sim/missing"),
            (4, _) => job(game, "sim/exit"),
            _ => {
                games.push(game.clone());
                job(game, IMAGE)
            }
        });
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_repeats_and_has_every_kind_of_entry() {
        let entries = plan(300, 7);
        assert_eq!(entries, plan(300, 7));
        assert_ne!(entries, plan(300, 8));
        assert_eq!(entries.len(), 300);
        let jobs = |wanted: &str| {
            entries.iter().filter(|entry| matches!(entry, Entry::Job { image, .. } if image == wanted)).count()
        };
        assert!(jobs(IMAGE) > 200 && jobs(OTHER_IMAGE) > 0 && jobs("sim/missing") > 0 && jobs("sim/exit") > 0);
        assert!(entries.iter().any(|entry| matches!(entry, Entry::Malformed { .. })));
        for count in [1, 4, 20] {
            assert_eq!(plan(count, 7).len(), count);
        }
    }
}
