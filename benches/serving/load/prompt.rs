//! Prompts of plain English, different for every seed.

const SUBJECTS: &[&str] = &[
    "the old captain",
    "a young doctor",
    "my neighbour",
    "the quiet teacher",
    "an honest merchant",
    "the tired driver",
    "a clever engineer",
    "the mayor",
    "her brother",
    "a wandering painter",
    "the night guard",
    "our cook",
];
const VERBS: &[&str] = &[
    "remembered",
    "carried",
    "repaired",
    "described",
    "lost",
    "discovered",
    "measured",
    "painted",
    "sold",
    "watched",
    "followed",
    "protected",
];
const OBJECTS: &[&str] = &[
    "the broken clock",
    "a letter from the coast",
    "two wooden boxes",
    "the last train",
    "a map of the valley",
    "the garden wall",
    "seven silver coins",
    "an empty notebook",
    "the lighthouse",
    "a basket of apples",
    "the village bridge",
    "a strange machine",
];
const PLACES: &[&str] = &[
    "near the harbour",
    "behind the school",
    "in the northern mountains",
    "across the river",
    "at the market",
    "under a grey sky",
    "before the storm",
    "on the second floor",
    "after the long winter",
    "by the railway",
];

/// About this many words, in sentences.
pub(crate) fn text(words: u64, seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut pick = |from: &[&'static str]| from[random.usize(..from.len())];
    let (mut text, mut count) = (String::new(), 0);
    while count < words {
        let sentence = format!("{} {} {} {}. ", pick(SUBJECTS), pick(VERBS), pick(OBJECTS), pick(PLACES));
        count += sentence.split_whitespace().count() as u64;
        text.push_str(&sentence);
    }
    text
}
