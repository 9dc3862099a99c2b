//! Progress bars, on stderr.

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
            Some(bar) => bar.suspend(|| crate::tell(text)),
            None => crate::tell(text),
        }
    }
}

/// A bar for work that counts up to a known number.
#[derive(Default)]
pub struct Counter(Option<ProgressBar>);

impl Counter {
    pub fn begin(&mut self, count: u64, unit: &str) {
        let bar = ProgressBar::new(count);
        let template = format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit}, {{eta}} left");
        bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.0 = Some(bar);
    }

    pub fn message(&self, text: String) {
        if let Some(bar) = &self.0 {
            bar.set_message(text);
        }
    }

    pub fn line(&self, text: &str) {
        match &self.0 {
            Some(bar) => bar.suspend(|| crate::tell(text)),
            None => crate::tell(text),
        }
    }

    pub fn advance(&self, by: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(by);
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
