//! All files of the crate as modules: which file defines what a path names, and which files need each other.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Path, Source, Use};

/// The files by their modules; the crate itself is the empty path.
#[derive(Debug)]
pub struct Tree(BTreeMap<Vec<String>, File>);

#[derive(Debug)]
struct File {
    name: String,
    source: Source,
}

/// Where something is defined: the module of a file, and the item in it if a path names one.
type Place = (Vec<String>, Option<String>);

/// A file, the files that it needs, and for each of those one path or call that shows it.
pub type Needs = BTreeMap<String, BTreeMap<String, String>>;

impl Tree {
    /// Names below the root, such as `src/worker/mod.rs`, and texts.
    pub fn new(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let module = |name: &str| -> Vec<String> {
            let path = name.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
            if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
        };
        let read = |(name, text): (String, String)| (module(&name), File { source: Source::read(&text), name });
        Self(files.into_iter().map(read).collect())
    }

    /// Which file needs which.
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::new();
        let methods = self.methods();
        for (module, file) in &self.0 {
            let mut need = |other: &[String], why: String| {
                if other != module {
                    let needed = needs.entry(file.name.clone()).or_default();
                    needed.entry(self.0[other].name.clone()).or_insert(why);
                }
            };
            for one in &file.source.uses {
                let is_for_others_only = one.is_exported && !file.source.words.contains(&one.name);
                if !is_for_others_only && let Some((other, _)) = self.follow(module, one, &[], &mut BTreeSet::new()) {
                    need(&other, one.path.words.join("::"));
                }
            }
            for path in &file.source.paths {
                if let Some((other, _)) = self.resolve(module, path) {
                    need(&other, path.words.join("::"));
                }
                if let [owner @ .., method] = path.words.as_slice()
                    && let Some((of, Some(name))) =
                        self.resolve(module, &Path { words: owner.to_vec(), ..path.clone() })
                    && let Some(other) = methods.get(&(of, name, method.clone()))
                {
                    need(other, path.words.join("::"));
                }
            }
            for (name, method) in &file.source.calls {
                let called = Path { words: vec![name.clone()], depth: 0, is_of_tests: false };
                let of = self.resolve(module, &called).map_or_else(|| module.clone(), |(of, _)| of);
                if let Some(other) = methods.get(&(of, name.clone(), method.clone())) {
                    need(other, format!("calls {name}::{method}"));
                }
            }
        }
        needs
    }

    /// The methods of types that another file defines: module of the type, type and method; and where the method is.
    fn methods(&self) -> BTreeMap<(Vec<String>, String, String), Vec<String>> {
        let mut found = BTreeMap::new();
        for (module, file) in &self.0 {
            for (name, method) in &file.source.methods {
                let path = Path { words: vec![name.clone()], depth: 0, is_of_tests: false };
                if let Some((of, Some(name))) = self.resolve(module, &path) {
                    found.insert((of, name, method.clone()), module.clone());
                }
            }
        }
        found
    }

    /// Where the thing is defined that a path in this module names; none: outside of the crate, or in the file itself.
    fn resolve(&self, module: &[String], path: &Path) -> Option<Place> {
        self.resolve_words(module, &path.words, path.depth, &mut BTreeSet::new())
    }

    fn resolve_words(
        &self,
        module: &[String],
        words: &[String],
        depth: usize,
        seen: &mut BTreeSet<(Vec<String>, String)>,
    ) -> Option<Place> {
        let (first, rest) = words.split_first()?;
        match first.as_str() {
            "crate" => self.descend(&[], rest, seen),
            "self" => self.descend(module, rest, seen),
            "super" => {
                let all = words.iter().take_while(|word| *word == "super").count();
                let up = all.saturating_sub(depth).min(module.len());
                self.descend(&module[..module.len() - up], &words[all..], seen)
            }
            _ => {
                let source = &self.0.get(module)?.source;
                if source.children.contains(first) || source.inline.contains(first) {
                    return self.descend(module, words, seen);
                }
                source.uses.iter().filter(|one| one.name == *first).find_map(|one| self.follow(module, one, rest, seen))
            }
        }
    }

    /// What a name stands for that a `use` of this module brings in, and the words behind it.
    fn follow(
        &self,
        module: &[String],
        one: &Use,
        rest: &[String],
        seen: &mut BTreeSet<(Vec<String>, String)>,
    ) -> Option<Place> {
        // `use a::a;`: the first word is not what this brings in.
        if !seen.insert((module.to_vec(), one.path.words.join("::"))) {
            return None;
        }
        self.resolve_words(module, &[&one.path.words, rest].concat(), one.path.depth, seen)
    }

    /// From a module down, through what it imports for others.
    fn descend(
        &self,
        module: &[String],
        words: &[String],
        seen: &mut BTreeSet<(Vec<String>, String)>,
    ) -> Option<Place> {
        let file = self.0.get(module)?;
        let Some((first, rest)) = words.split_first() else { return Some((module.to_vec(), None)) };
        let child = [module, std::slice::from_ref(first)].concat();
        if self.0.contains_key(&child) {
            return self.descend(&child, rest, seen);
        }
        let imported = file.source.uses.iter().find(|one| one.path.depth == 0 && one.name == *first && first != "*");
        match imported {
            Some(one) if !file.source.inline.contains(first) => self.follow(module, one, rest, seen),
            _ => Some((module.to_vec(), Some(first.clone()))),
        }
    }
}

/// The groups of files that need each other, directly or through others.
pub fn circles(needs: &Needs) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = needs.keys().map(|file| (file, reach(needs, file))).collect();
    let mut found = Vec::new();
    for (&file, others) in &reached {
        if !others.contains(file) {
            continue;
        }
        let is_mutual = |other: &&&String| reached.get(*other).is_some_and(|back| back.contains(file));
        let circle: BTreeSet<String> = others.iter().filter(is_mutual).map(|&other| other.clone()).collect();
        if circle.first() == Some(file) {
            found.push(circle);
        }
    }
    found
}

fn reach<'a>(needs: &'a Needs, file: &String) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&String> = needs.get(file).into_iter().flat_map(BTreeMap::keys).collect();
    while let Some(file) = next.pop() {
        if found.insert(file) {
            next.extend(needs.get(file).into_iter().flat_map(BTreeMap::keys));
        }
    }
    found
}
