//! The terminal: taken over and given back, and what is typed on it.

use std::io::{self, IsTerminal, stdin, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Events that wait for the loop. What is typed faster than it draws is lost.
const EVENTS_MAX: usize = 64;
/// How long the thread waits for an event before it looks whether it is to end.
const POLL: Duration = Duration::from_millis(100);

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Leave.
    Quit,
    /// The next view, or the one before.
    Next,
    Previous,
    /// The view of this number, from 0 on.
    View(usize),
    /// So many lines down; up where negative.
    Scroll(i32),
    /// To the first line.
    Top,
    /// Look at the fleet now.
    Refresh,
    /// How far back the charts reach.
    Range,
    /// How to pause the fleet.
    Pause,
    /// Close what is open.
    Close,
    /// The terminal has another size.
    Resized,
    /// The terminal is gone.
    Gone,
}

/// A terminal that is taken over. It is given back at the end of its life, and when the process panics.
pub(super) struct Screen {
    /// What is drawn on.
    pub(super) terminal: DefaultTerminal,
    inputs: Receiver<Input>,
    ends: Arc<AtomicBool>,
}

/// Can it be taken over?
pub(super) fn is_there() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

impl Screen {
    /// Takes it over.
    pub(super) fn take() -> io::Result<Self> {
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        let (sender, inputs) = channel(EVENTS_MAX);
        let ends = Arc::new(AtomicBool::new(false));
        let ends_too = Arc::clone(&ends);
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || listen(&sender, &ends_too))?;
        Ok(Self { terminal, inputs, ends })
    }

    /// The next thing that the user wants.
    pub(super) async fn input(&mut self) -> Input {
        self.inputs.recv().await.unwrap_or(Input::Gone)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Says on stderr what it could not do.
        ratatui::restore();
    }
}

/// Until the screen ends, or the terminal is gone.
fn listen(sender: &Sender<Input>, ends: &AtomicBool) {
    while !ends.load(Ordering::Relaxed) {
        let event = match event::poll(POLL) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        // Without a sender the loop sees that the terminal is gone.
        let Ok(event) = event else { return };
        if let Some(input) = input_of(&event) {
            _ = sender.try_send(input);
        }
    }
}

fn input_of(event: &Event) -> Option<Input> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => key_of(*key),
        Event::Resize(..) => Some(Input::Resized),
        _ => None,
    }
}

fn key_of(key: KeyEvent) -> Option<Input> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return matches!(key.code, KeyCode::Char('c' | 'd')).then_some(Input::Quit);
    }
    Some(match key.code {
        KeyCode::Char('q' | 'Q') => Input::Quit,
        KeyCode::Tab | KeyCode::Right => Input::Next,
        KeyCode::BackTab | KeyCode::Left => Input::Previous,
        KeyCode::Char(digit @ '1'..='9') => Input::View(usize::from(u8::try_from(digit).ok()? - b'1')),
        KeyCode::Down | KeyCode::Char('j') => Input::Scroll(1),
        KeyCode::Up | KeyCode::Char('k') => Input::Scroll(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => Input::Scroll(10),
        KeyCode::PageUp => Input::Scroll(-10),
        KeyCode::Home | KeyCode::Char('g') => Input::Top,
        KeyCode::Char('r' | 'R') => Input::Refresh,
        KeyCode::Char('t' | 'T') => Input::Range,
        KeyCode::Char('p' | 'P') => Input::Pause,
        KeyCode::Esc => Input::Close,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_what_the_user_wants() {
        let key = |code| key_of(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(key(KeyCode::Char('q')), Some(Input::Quit));
        assert_eq!(key(KeyCode::Char('4')), Some(Input::View(3)));
        assert_eq!(key(KeyCode::Char('x')), None);
        assert_eq!(key_of(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Input::Quit));
        assert_eq!(key_of(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::CONTROL)), None);
        assert_eq!(input_of(&Event::Resize(1, 1)), Some(Input::Resized));
    }
}
