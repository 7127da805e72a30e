//! What came of it: a table, JSON and a plot.

use std::{fs, path::Path};

use plotters::prelude::*;
use serde::Serialize;

use crate::{Result, load::Done, machine::Cpu, scenario::Scenario};

/// What one proxy did in one scenario; each list has one figure a round.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Measured {
    name: &'static str,
    user_us: Vec<f64>,
    system_us: Vec<f64>,
    requests_per_second: Vec<f64>,
    /// The share of its core that it used.
    busy: Vec<f64>,
    /// At 50%, 99% and 99.9%, at a fixed rate.
    latency_us: Vec<[f64; 3]>,
    rate_per_second: f64,
    pub(crate) memory_start_kib: f64,
    /// For so many idle connections, what each takes.
    pub(crate) idle_kib: Vec<(usize, f64)>,
}

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    rounds: usize,
    seconds: u64,
    scenarios: Vec<Compared>,
    left_out: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Compared {
    name: &'static str,
    what: &'static str,
    measured: Vec<Measured>,
}

impl Measured {
    pub(crate) fn new(name: &'static str) -> Measured {
        Measured { name, ..Measured::default() }
    }

    pub(crate) fn add_round(&mut self, cpu: Cpu, done: &Done) {
        self.user_us.push(cpu.user_us / done.requests);
        self.system_us.push(cpu.system_us / done.requests);
        self.requests_per_second.push(done.per_second());
        self.busy.push((cpu.user_us + cpu.system_us) / 1e6 / done.seconds);
    }

    pub(crate) fn add_latencies(&mut self, done: &Done) {
        self.rate_per_second = done.per_second();
        self.latency_us.push(done.latency_us);
    }

    fn total_us(&self) -> Vec<f64> {
        self.user_us.iter().zip(&self.system_us).map(|(user, system)| user + system).collect()
    }

    /// The median of the rounds' ratios to another proxy's CPU.
    fn ratio_to(&self, other: &Measured) -> f64 {
        median(self.total_us().iter().zip(other.total_us()).map(|(own, other)| own / other).collect())
    }
}

impl Report {
    pub(crate) fn new(rounds: usize, seconds: u64) -> Report {
        Report { rounds, seconds, scenarios: Vec::new(), left_out: Vec::new() }
    }

    /// Tells who does not take part.
    pub(crate) fn leave_out(&mut self, scenario: &Scenario, name: &str, why: &str) {
        let line = format!("{}: without {name} ({why})", scenario.name);
        println!("{line}");
        self.left_out.push(line);
    }

    pub(crate) fn add(&mut self, scenario: &Scenario, measured: Vec<Measured>) {
        self.scenarios.push(Compared { name: scenario.name, what: scenario.what, measured });
    }

    /// Prints one scenario's table. Ratios are weir's CPU to the others'.
    pub(crate) fn print(measured: &[Measured]) {
        println!(
            "{:<9}{:>8}{:>8}{:>8}{:>8}{:>9}{:>6}{:>9}{:>9}{:>9}{:>8}{:>14}",
            "",
            "user",
            "system",
            "µs CPU",
            "weir/it",
            "req/s",
            "busy",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "MiB",
            "KiB idle"
        );
        for one in measured {
            let ratio = measured.first().map_or(f64::NAN, |weir| weir.ratio_to(one));
            let latency = |place: usize| match &*one.latency_us {
                [] => String::new(),
                rounds => format!("{:.0}", median(rounds.iter().map(|round| round[place]).collect())),
            };
            let idle: Vec<String> = one.idle_kib.iter().map(|(_connections, kib)| format!("{kib:.1}")).collect();
            println!(
                "{:<9}{:>8.2}{:>8.2}{:>8.2}{ratio:>8.2}{:>9.0}{:>5.0}%{:>9}{:>9}{:>9}{:>8.1}{:>14}",
                one.name,
                median(one.user_us.clone()),
                median(one.system_us.clone()),
                median(one.total_us()),
                median(one.requests_per_second.clone()),
                median(one.busy.clone()) * 100.0,
                latency(0),
                latency(1),
                latency(2),
                one.memory_start_kib / 1024.0,
                idle.join(" / "),
            );
        }
    }

    /// Writes the figures and the plot.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("peers.json"), serde_json::to_string_pretty(self)?)?;
        let plot = directory.join("peers.svg");
        self.plot(&plot)?;
        println!("\nwritten: {} and {}", directory.join("peers.json").display(), plot.display());
        Ok(())
    }

    /// CPU per request as bars, a group for each scenario.
    fn plot(&self, path: &Path) -> Result<()> {
        let shown: Vec<&Compared> = self.scenarios.iter().filter(|compared| !compared.measured.is_empty()).collect();
        let cost = |one: &Measured| median(one.total_us());
        let highest = shown.iter().flat_map(|compared| &compared.measured).map(cost).fold(1.0, f64::max);
        let names = ["weir", "haproxy", "nginx", "envoy"];
        let area = SVGBackend::new(path, (900, 420)).into_drawing_area();
        area.fill(&WHITE)?;
        let groups = f64::from(u32::try_from(shown.len().max(1))?);
        let mut chart = ChartBuilder::on(&area)
            .caption("µs of CPU a request, less is better", ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(32)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..groups, 0.0..highest * 1.1)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a short list")]
        let label = |place: &f64| shown.get(*place as usize).map_or("", |compared| compared.name).to_owned();
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(shown.len() * 2 + 1)
            .x_label_formatter(&|place| if (place.fract() - 0.5).abs() < 0.01 { label(place) } else { String::new() })
            .draw()?;
        for (place, name) in names.iter().enumerate() {
            let color = Palette99::pick(place).to_rgba();
            let bars = shown.iter().enumerate().filter_map(|(group, compared)| {
                let one = compared.measured.iter().find(|one| one.name == *name)?;
                let left = f64::from(u32::try_from(group).ok()?) + 0.1 + 0.2 * f64::from(u32::try_from(place).ok()?);
                Some(Rectangle::new([(left, 0.0), (left + 0.18, cost(one))], color.filled()))
            });
            chart
                .draw_series(bars)?
                .label(*name)
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], color.filled()));
        }
        chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
        area.present()?;
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
