//! Words of descriptions, and the nearest one to a word that is wrong.

/// The name of the network's input, as nodes read it; no node may have it.
pub const INPUT: &str = "input";

/// How the names of quantisers, which rules make, end.
pub(crate) const QUANTIZER: &str = ".quantizer";

/// The word that takes the fewest changes of letters to become.
pub(crate) fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> String {
    words.min_by_key(|other| distance(word, other)).unwrap_or_default().to_string()
}

/// Letters to insert, delete or exchange between two words.
fn distance(a: &str, b: &str) -> usize {
    // A hostile name may be long; its end does not matter.
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().take(64).enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let exchanged = corner + usize::from(letter != *other);
            corner = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_takes_the_fewest_changes() {
        for (a, b, changes) in
            [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("conv2d", "convd", 1), ("ab", "ba", 2)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (changes, changes), "{a} {b}");
        }
        assert_eq!(nearest("sride", ["kernel", "stride", "op"].into_iter()), "stride");
        assert_eq!(nearest("x", std::iter::empty()), "");
    }
}
