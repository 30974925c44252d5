//! Is an entry a start job? The contract's rules once more, written from the contract and not from the worker.

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A job of this game: one outcome is due.
    Job(String),
    /// Not a job: one dead letter is due, and no outcome.
    Malformed,
}

/// Looks at the pairs of an entry, given flat: name, value, name, value.
pub(crate) fn shape_of<B: AsRef<[u8]>>(flat: &[B], max_field_bytes: usize) -> Shape {
    let mut known: [Option<&[u8]>; 3] = [None; 3];
    for pair in flat.chunks_exact(2) {
        let slot = match pair[0].as_ref() {
            b"game_id" => 0,
            b"image_ref" => 1,
            b"requested_at_ms" => 2,
            _ => continue,
        };
        known[slot] = Some(pair[1].as_ref());
    }
    let [game, image, requested] = known.map(|value| text_of(value, max_field_bytes));
    match (game, image, requested) {
        (Some(game), Some(image), Some(requested))
            if !game.is_empty() && !image.is_empty() && (requested.is_empty() || is_signed_64_bit(requested)) =>
        {
            Shape::Job(game.to_owned())
        }
        _ => Shape::Malformed,
    }
}

/// The trimmed text, empty where the field is absent; none where it cannot be one.
fn text_of(value: Option<&[u8]>, max_field_bytes: usize) -> Option<&str> {
    let value = value.unwrap_or_default();
    if value.len() > max_field_bytes {
        return None;
    }
    std::str::from_utf8(value).ok().map(str::trim)
}

fn is_signed_64_bit(text: &str) -> bool {
    let bytes = text.as_bytes();
    let negative = bytes.first() == Some(&b'-');
    let digits = if matches!(bytes.first(), Some(b'+' | b'-')) { &bytes[1..] } else { bytes };
    let value = digits.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    });
    let limit = i64::MAX.unsigned_abs() + u64::from(negative);
    !digits.is_empty() && value.is_some_and(|value| value <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::start_job::StartJob;
    use bytes::Bytes;
    use proptest::prelude::*;

    const LIMIT: usize = 64;

    fn entry() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let name = prop_oneof![
            4 => Just(b"game_id".to_vec()),
            4 => Just(b"image_ref".to_vec()),
            4 => Just(b"requested_at_ms".to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..12),
        ];
        let value = prop_oneof![
            "[ \t\u{a0}a-z0-9:+-]{0,12}".prop_map(String::into_bytes),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            "[+-]?92233720368547758[0-9]{0,3}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..80),
        ];
        proptest::collection::vec((name, value), 0..8)
            .prop_map(|pairs| pairs.into_iter().flat_map(|(name, value)| [name, value]).collect())
    }

    proptest! {
        // The one place where both are held side by side: two readings of one contract must agree.
        #[test]
        fn both_readings_of_the_contract_agree(flat in entry()) {
            let fields = flat.chunks_exact(2).map(|pair| (Bytes::from(pair[0].clone()), Bytes::from(pair[1].clone()))).collect();
            let theirs = StartJob::decode(&fields, LIMIT).map_or(Shape::Malformed, |job| Shape::Job(job.game_id));
            prop_assert_eq!(shape_of(&flat, LIMIT), theirs);
        }
    }
}
