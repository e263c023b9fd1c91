//! Cost over the number of workloads, as an SVG.

use plotters::prelude::*;

use super::Point;
use crate::failure::{Failure, Result};

const SIZE: (u32, u32) = (960, 640);
const COLOURS: [RGBColor; 2] = [RGBColor(0x1f, 0x6f, 0xb2), RGBColor(0xc2, 0x5b, 0x1e)];

type Value = fn(&Point) -> Option<f64>;

const PANELS: [(&str, Value); 4] = [
    ("time to converge (s)", |point| Some(point.converged)),
    ("agent, resident (MiB)", |point| Some(point.memory)),
    ("agent, idle (% of a core)", |point| Some(point.idle)),
    ("adopted after kill -9 (s)", |point| point.adopted),
];

/// Four panels with a line for each runtime.
pub(super) fn draw(lines: &[(&str, Vec<Point>)]) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        for (panel, (title, value)) in area.split_evenly((2, 2)).iter().zip(PANELS) {
            draw_panel(panel, title, value, lines)?;
        }
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

fn draw_panel(
    panel: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    value: Value,
    lines: &[(&str, Vec<Point>)],
) -> Result<()> {
    let series: Vec<(&str, Vec<(f64, f64)>)> =
        lines.iter().map(|(name, points)| (*name, places(points, value))).collect();
    let all = || series.iter().flat_map(|(_, places)| places);
    let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(0.1, f64::max) * 1.1;
    let mut chart = ChartBuilder::on(panel)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..most(|place| place.0), 0.0..most(|place| place.1))
        .map_err(failed)?;
    chart.configure_mesh().x_desc("workloads").draw().map_err(failed)?;
    for ((name, places), colour) in series.into_iter().zip(COLOURS) {
        if places.is_empty() {
            continue;
        }
        let line = LineSeries::new(places, colour.stroke_width(2)).point_size(3);
        let drawn = chart.draw_series(line).map_err(failed)?;
        drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    chart.configure_series_labels().position(SeriesLabelPosition::UpperLeft).draw().map_err(failed)
}

fn places(points: &[Point], value: Value) -> Vec<(f64, f64)> {
    points.iter().filter_map(|point| Some((point.workloads as f64, value(point)?))).collect()
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("drawing the plot: {error}"))
}
