//! The progress bar of training, on stderr.

use std::io::Write;

use hardgrad_lab::Event;
use indicatif::{ProgressBar, ProgressStyle};

/// Shows what training tells; without a terminal, a line an epoch.
#[derive(Default)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub fn show(&mut self, event: Event) {
        match event {
            Event::Begin { folder, done, steps } => {
                let bar = ProgressBar::new(steps).with_position(done);
                let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} steps, {eta} left");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.reset_eta();
                self.bar = Some(bar);
                self.line(&format!("run folder: {}", folder.display()));
            }
            Event::Step { stage, loss, accuracy } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("{}: loss {loss:.4}, accuracy {:.2} %", stage.name(), 100.0 * accuracy));
                    bar.inc(1);
                }
            }
            Event::Epoch(row) => self.line(&format!(
                "{} epoch {}: training loss {:.4}, accuracy {:.2} %; held out {:.4}, {:.2} %",
                row.stage.name(),
                row.epoch,
                row.train_loss,
                100.0 * row.train_accuracy,
                row.test_loss,
                100.0 * row.test_accuracy
            )),
            Event::Note(text) => self.line(&text),
        }
    }

    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| print(text)),
            None => print(text),
        }
    }
}

/// A line on stderr; where nobody can read it, training goes on.
fn print(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
