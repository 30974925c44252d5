//! Questions that a command asks before it changes something.

use std::io::{BufRead, IsTerminal, Write};

/// Whether there is a terminal to ask on.
pub(super) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Shows the text, asks whether to go on, and waits for the answer.
pub(super) async fn confirmed(mut question: String) -> bool {
    question.push_str("Go on? [y/N] ");
    // The connection must be able to work while the user thinks.
    let asking = tokio::task::spawn_blocking(move || {
        let mut answer = String::new();
        let mut stderr = std::io::stderr();
        let asked = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
        let read = asked.and_then(|()| std::io::stdin().lock().read_line(&mut answer));
        read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
    });
    asking.await.unwrap_or(false)
}
