//! Faults that are put into the scripts, each of which the sequences must find.

// of the group
mod claims;
mod group;
mod rest;
// of the records
mod records;

/// One exact replacement in one file.
pub struct Mutant {
    /// Below `src`.
    pub file: &'static str,
    pub from: &'static str,
    pub to: &'static str,
    pub why: &'static str,
}

impl Mutant {
    /// A script with it; scripts without the text stay as they are.
    pub fn change(&self, script: &str) -> String {
        script.replace(self.from, self.to)
    }
}

pub fn all() -> Vec<&'static Mutant> {
    [group::MUTANTS, claims::MUTANTS, rest::MUTANTS, records::MUTANTS].into_iter().flatten().collect()
}
