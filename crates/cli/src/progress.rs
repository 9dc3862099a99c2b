//! Progress bars, on stderr.

use hardgrad_lab::{Event, data};
use indicatif::{ProgressBar, ProgressStyle};

/// Shows what training tells; without a terminal, a line an epoch.
#[derive(Default)]
pub struct Progress {
    reading: Reading,
    steps: Counter,
}

impl Progress {
    pub fn show(&mut self, event: Event) {
        match event {
            Event::Data(progress) => self.reading.show(progress),
            Event::Begin { folder, done, steps } => {
                self.steps.begin_at(done, steps, "steps");
                self.steps.line(&format!("run folder: {}", folder.display()));
            }
            Event::Step { stage, text } => {
                self.steps.message(format!("{stage}: {text}"));
                self.steps.advance(1);
            }
            Event::Skip(steps) => self.steps.advance(steps),
            Event::Epoch { stage, epoch, text } => self.steps.line(&format!("{stage} epoch {epoch}: {text}")),
            Event::Note(text) => self.steps.line(&text),
        }
    }

    pub fn finish(self) {
        self.steps.finish();
    }
}

/// A bar of the files that are read, one for each kind of work.
#[derive(Default)]
pub struct Reading {
    files: Counter,
    doing: &'static str,
}

impl Reading {
    pub fn show(&mut self, data::Progress { doing, done, total }: data::Progress) {
        if self.doing != doing {
            self.files.finish();
            self.files.begin_at(done, total, "files");
            self.files.message(doing.to_string());
            self.doing = doing;
        }
        self.files.set(done);
        if done == total {
            self.files.finish();
        }
    }
}

/// A bar for work that counts up to a known number.
#[derive(Default)]
pub struct Counter(Option<ProgressBar>);

impl Counter {
    pub fn begin(&mut self, count: u64, unit: &str) {
        self.begin_at(0, count, unit);
    }

    pub fn begin_at(&mut self, done: u64, count: u64, unit: &str) {
        let bar = ProgressBar::new(count).with_position(done);
        let template = format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit}, {{eta}} left");
        bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        // What was done before says nothing about the time that is left.
        bar.reset_eta();
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

    pub fn set(&self, done: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
