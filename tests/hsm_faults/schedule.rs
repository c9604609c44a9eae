//! Random faults, the same for the same seed.

use std::fmt::Write;
use std::time::Duration;

use super::rows;

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// How long a schedule is in force.
pub fn length(seed: u64) -> Duration {
    Duration::from_millis(300 + Dice(!seed).roll(1200))
}

/// One to three faults, each with a chance, a pause before it and an end.
pub fn plan(seed: u64) -> String {
    let mut dice = Dice(seed);
    let pool: Vec<_> = [rows::absorbed(), rows::signing(), rows::starting()].into_iter().flatten().collect();
    let mut plan = String::new();
    for number in 0..=dice.roll(3) {
        let row = &pool[dice.roll(pool.len() as u64) as usize];
        let (skip, from) = (dice.roll(20), dice.roll(300));
        let (chance, until) = (1 + dice.roll(100), from + 50 + dice.roll(900));
        for table in row.plan.split("[[fault]]").skip(1) {
            let table = table.replacen("name = \"", &format!("name = \"{number}-"), 1);
            let when = format!("skip = {skip}\nfrom_ms = {from}\nuntil_ms = {until}");
            let _ = writeln!(plan, "[[fault]]{table}{when}\nchance = 0.{chance:02}");
        }
    }
    // 0.100 would be a tenth, not one.
    plan.replace("chance = 0.100", "chance = 1.0")
}
