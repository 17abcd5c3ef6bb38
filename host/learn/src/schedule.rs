//! The learning rate, step by step.

use querist_core::config::{Recipe, Schedule};

/// The rate of step `step` (from 0) where an epoch has `steps_per_epoch` steps.
///
/// During the warm-up of w steps it rises by equal amounts to the full rate, which step w - 1 uses. After it, the
/// cosine falls from the full rate at step w towards 0, which it would reach one step after the last. So does the
/// triangle of one cycle, which starts at a fifth of the rate and knows no warm-up.
pub(crate) fn rate(recipe: &Recipe, step: usize, steps_per_epoch: usize) -> f64 {
    let warmup = recipe.warmup * steps_per_epoch;
    if recipe.schedule == Schedule::OneCycle {
        return recipe.lr * triangle(step as f64 / (recipe.epochs * steps_per_epoch) as f64, recipe.peak);
    }
    if step < warmup {
        return recipe.lr * (step + 1) as f64 / warmup as f64;
    }
    match recipe.schedule {
        Schedule::Constant | Schedule::OneCycle => recipe.lr,
        Schedule::Step => recipe.lr * recipe.gamma.powi((step / steps_per_epoch / recipe.step_epochs) as i32),
        Schedule::MultiStep => {
            let epoch = step / steps_per_epoch;
            let passed = recipe.milestones.iter().filter(|&&milestone| milestone <= epoch).count();
            recipe.lr * recipe.gamma.powi(passed as i32)
        }
        Schedule::Cosine => {
            let steps = recipe.epochs * steps_per_epoch - warmup;
            let progress = (step - warmup) as f64 / steps as f64;
            recipe.lr * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
        }
    }
}

/// What one cycle starts with, as a share of its highest rate.
const START: f64 = 0.2;

/// Height at `progress` of a triangle that rises from [`START`] to 1 at `peak` and falls to 0 at 1.
fn triangle(progress: f64, peak: f64) -> f64 {
    if progress < peak { START + (1.0 - START) * progress / peak } else { (1.0 - progress) / (1.0 - peak).max(1e-9) }
}

#[cfg(test)]
mod tests {
    use querist_core::config::Recipe;

    use super::*;

    fn recipe(schedule: Schedule, warmup: usize) -> Recipe {
        Recipe { lr: 0.8, schedule, milestones: vec![4, 6], gamma: 0.5, warmup, epochs: 8, ..Recipe::default() }
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found}, expected {expected}");
    }

    #[test]
    fn milestones_lower_the_rate_at_the_start_of_their_epoch() {
        let recipe = recipe(Schedule::MultiStep, 0);
        for (step, expected) in [(0, 0.8), (39, 0.8), (40, 0.4), (59, 0.4), (60, 0.2), (79, 0.2)] {
            near(rate(&recipe, step, 10), expected);
        }
    }

    #[test]
    fn the_cosine_passes_half_in_the_middle_and_ends_near_zero() {
        let recipe = recipe(Schedule::Cosine, 0);
        near(rate(&recipe, 0, 10), 0.8);
        near(rate(&recipe, 40, 10), 0.4);
        near(rate(&recipe, 20, 10), 0.4 * (1.0 + 0.5f64.sqrt()));
        let last = rate(&recipe, 79, 10);
        assert!(last > 0.0 && last < 4e-4, "{last}");
    }

    #[test]
    fn steps_lower_the_rate_again_and_again() {
        let recipe = Recipe { step_epochs: 3, ..recipe(Schedule::Step, 0) };
        for (step, expected) in [(0, 0.8), (29, 0.8), (30, 0.4), (59, 0.4), (60, 0.2), (79, 0.2)] {
            near(rate(&recipe, step, 10), expected);
        }
    }

    #[test]
    fn one_cycle_rises_and_falls_in_straight_lines() {
        let recipe = Recipe { peak: 0.25, ..recipe(Schedule::OneCycle, 0) };
        for (step, expected) in [(0, 0.16), (10, 0.48), (20, 0.8), (50, 0.4), (80, 0.0)] {
            near(rate(&recipe, step, 10), expected);
        }
    }

    #[test]
    fn the_warm_up_rises_by_the_step_and_hands_over() {
        for schedule in [Schedule::Constant, Schedule::Cosine] {
            let recipe = recipe(schedule, 2);
            near(rate(&recipe, 0, 10), 0.04);
            near(rate(&recipe, 9, 10), 0.4);
            near(rate(&recipe, 19, 10), 0.8);
            near(rate(&recipe, 20, 10), 0.8);
        }
        near(rate(&recipe(Schedule::Cosine, 2), 50, 10), 0.4);
    }
}
