//! The page for people: the whole fleet in a browser, from any replica. Every screen is complete without a script;
//! where there is one, parts renew themselves. Everything foreign is escaped, every list and every answer is bounded,
//! and nothing is fetched from elsewhere.

// what an operator decides about it
pub(crate) mod config;
// foreign text
pub(crate) mod text;
// times and durations
pub(crate) mod when;
// what a request asks for beyond its path
pub(crate) mod query;
// our own documents
pub(crate) mod markdown;
// what screens are made of
pub(crate) mod frame;
// stylesheet, script, logo
pub(crate) mod assets;
// what a browser may do with an answer
pub(crate) mod secure;
// who may change something
pub(crate) mod token;
// the fleet, one look a second for all
pub(crate) mod looks;
// lists, looked at for all who have them before them
pub(crate) mod lists;
// health in the words of the page
pub(crate) mod judged;
// what a process and a request have
pub(crate) mod site;
// parts of screens, drawn once a look
pub(crate) mod drawn;
// what is shown
pub(crate) mod screens;
// what has changed, as it changes
pub(crate) mod live;
// a page as an answer
pub(crate) mod answers;
// what people change
pub(crate) mod posts;
// which path leads where
pub(crate) mod routes;
// for the fuzzer
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
