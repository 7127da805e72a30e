//! The view: moving bars on a terminal, plain lines anywhere else.

use std::{
    collections::VecDeque,
    env, fmt,
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{ledger::Ledger, scene::Arm};
use crate::cli::print;

/// Acts of the story.
const ACTS: usize = 8;

/// How far back shares and rates look.
const WINDOW: Duration = Duration::from_secs(1);

/// More than all lines of all frames together, so that none is left out.
const DRAWS_PER_SECOND: u8 = 200;

/// Length of a full bar: its steps are tenths of a percent.
const WHOLE: u64 = 1000;

/// Shows the story. Its lines fit into 80 columns.
#[derive(Debug)]
pub(super) struct View {
    bars: Option<Bars>,
    title: String,
}

/// What moves at the bottom of the terminal.
#[derive(Debug)]
struct Bars {
    lines: MultiProgress,
    /// A free line between what was said and what moves.
    _gap: ProgressBar,
    act: ProgressBar,
    arms: [ProgressBar; 2],
    totals: ProgressBar,
    /// Answers by arm, at moments of the last [`WINDOW`].
    recent: VecDeque<(Instant, [u64; 2])>,
}

impl View {
    /// Bars when a person looks on, lines when the output goes to a file or a pipe.
    pub(super) fn new() -> anyhow::Result<View> {
        let terminal = io::stdout().is_terminal() && io::stderr().is_terminal();
        let moves = terminal && env::var_os("TERM").is_some_and(|term| term != "dumb");
        Ok(View { bars: moves.then(Bars::new).transpose()?, title: String::new() })
    }

    /// Prints lines that stay.
    pub(super) fn say(&self, text: &str) -> io::Result<()> {
        match &self.bars {
            Some(bars) => bars.lines.println(text),
            None => print(text),
        }
    }

    /// Opens an act: what is done, and how it is written.
    pub(super) fn act(&mut self, number: usize, name: &str, how: &str) -> io::Result<()> {
        self.title = format!("{number}/{ACTS}  {name:<18} {how}");
        match &self.bars {
            Some(bars) => bars.act.set_message(self.title.clone()),
            None => print(&self.title)?,
        }
        Ok(())
    }

    /// Closes an act with what came of it.
    pub(super) fn finding(&self, text: &str) -> io::Result<()> {
        if self.bars.is_some() {
            self.say(&self.title)?;
        }
        self.say(&format!("     {text}"))
    }

    /// Shows the traffic as it is now.
    pub(super) fn frame(&mut self, ledger: &Ledger, generation: u64) {
        if let Some(bars) = &mut self.bars {
            bars.frame(ledger, generation);
        }
    }

    /// Takes the bars away; what was said stays.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.bars.take().map_or(Ok(()), |bars| bars.lines.clear())
    }
}

impl Bars {
    fn new() -> anyhow::Result<Bars> {
        // Every line has to be drawn with every frame, or the arms would show different moments.
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND));
        let line = |template: &str| -> anyhow::Result<ProgressBar> {
            let style = ProgressStyle::with_template(template)?.progress_chars("━╸─").tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ");
            Ok(lines.add(ProgressBar::new(WHOLE).with_style(style)))
        };
        let gap = line(" ")?;
        gap.tick();
        let act = line("{msg:.bold} {spinner:.green}")?;
        let stable = line("     {prefix:.bold} {bar:34.blue} {msg}")?;
        let canary = line("     {prefix:.bold} {bar:34.yellow} {msg}")?;
        let totals = line("     {msg}")?;
        let arms = [stable, canary];
        for arm in Arm::ALL {
            arms[arm.index()].set_prefix(arm.version());
        }
        Ok(Bars { _gap: gap, act, arms, totals, recent: VecDeque::new(), lines })
    }

    fn frame(&mut self, ledger: &Ledger, generation: u64) {
        let now = Instant::now();
        let answers = Arm::ALL.map(|arm| ledger.latencies(arm).count());
        self.recent.push_back((now, answers));
        while self.recent.front().is_some_and(|(then, _)| now.duration_since(*then) > WINDOW) {
            self.recent.pop_front();
        }
        let (then, before) = self.recent.front().copied().unwrap_or((now, answers));
        let gained = Arm::ALL.map(|arm| answers[arm.index()].saturating_sub(before[arm.index()]));
        let total: u64 = gained.iter().sum();
        for arm in Arm::ALL {
            let thousandths = (gained[arm.index()] * WHOLE).checked_div(total).unwrap_or(0);
            let bar = &self.arms[arm.index()];
            bar.set_position(thousandths);
            let (whole, tenths) = (thousandths / 10, thousandths % 10);
            bar.set_message(format!("{whole:>3}.{tenths}%  {}", Quantiles { ledger, arm }));
        }
        let per_second = (u128::from(total) * 1000).checked_div(now.duration_since(then).as_millis()).unwrap_or(0);
        self.totals.set_message(format!(
            "{} requests  {}/s  {} failed  {} unexplained  generation {generation}",
            HumanCount(ledger.requests()),
            HumanCount(u64::try_from(per_second).unwrap_or(u64::MAX)),
            ledger.failures(),
            ledger.unexplained(),
        ));
        self.act.tick();
    }
}

/// An arm's latencies, in columns.
pub(super) struct Quantiles<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) arm: Arm,
}

impl fmt::Display for Quantiles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latencies = self.ledger.latencies(self.arm);
        let ms = |percent| latencies.percentile(percent).as_secs_f64() * 1e3;
        write!(f, "p50 {:.2} ms  p99 {:.2} ms", ms(50), ms(99))
    }
}
