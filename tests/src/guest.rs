//! A booted machine with a shell on its serial console.

use std::time::{Duration, Instant};

use graven::run::{Machine, Running};

use crate::audit::{self, Record};
use crate::console::{Console, Silence};
use crate::refusal::{PANIC, unlucky};

/// How long a boot may take: QEMU without hardware virtualisation, on a machine that has other work too.
pub const BOOT: Duration = Duration::from_secs(300);
/// How long one command may take.
pub const COMMAND: Duration = Duration::from_secs(60);

/// A running machine. It ends when this is dropped.
pub struct Guest {
    /// Its serial console.
    pub console: Console,
    machine: Running,
    commands: u32,
}

/// What a command in the guest's shell did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Exit status.
    pub status: i32,
    /// Both streams together, without what the kernel wrote between.
    pub text: String,
}

impl Done {
    /// What an attack reported of a step: `worked`, `refused EACCES`, `not-tried ENOENT`; `None` where it did not get to it.
    pub fn step(&self, attack: &str, step: &str) -> Option<&str> {
        let prefix = format!("attack {attack} {step} ");
        self.text.lines().find_map(|line| line.strip_prefix(&prefix))
    }
}

impl Guest {
    /// Starts a machine.
    pub fn start(machine: &Machine) -> Self {
        let mut machine = machine.spawn().unwrap_or_else(|error| panic!("{error}"));
        let (input, output) = machine.console().expect("a new machine has its console");
        Self { console: Console::new(input, output), machine, commands: 0 }
    }

    /// Starts a machine and waits until its console shows `pattern`; answers what it said until then, too.
    pub fn reach(machine: &Machine, pattern: &str) -> (Self, String) {
        let mut guest = Self::start(machine);
        let reached = guest.console.wait_for_one_of(&[pattern, PANIC], BOOT);
        let mut said = guest.console.text();
        if reached != Ok(Some(0)) {
            if !unlucky(&said) {
                guest.give_up(&format!("`{pattern}` never came"), reached.err().unwrap_or(Silence::Ended));
            }
            eprintln!("QEMU's emulation stumbled in the early boot; booting once more");
            let _ = guest.machine.kill();
            guest = Self::start(machine);
            said = guest.expect(pattern, BOOT);
        }
        (guest, said)
    }

    /// Starts a machine and waits until its console shows `prompt`; then the kernel's console is quiet and audit records
    /// are no longer rationed.
    pub fn boot(machine: &Machine, prompt: &str) -> Self {
        let (mut guest, _) = Self::reach(machine, prompt);
        guest.shell("dmesg -n 1; echo 0 >/proc/sys/kernel/printk_ratelimit");
        guest
    }

    /// Waits for `pattern`; a machine that never says it fails the test with the end of its console.
    pub fn expect(&mut self, pattern: &str, within: Duration) -> String {
        let waited = self.console.wait_for(pattern, within);
        waited.unwrap_or_else(|silence| self.give_up(&format!("`{pattern}` never came"), silence))
    }

    /// Waits until the machine ends by itself (a refused boot, a power-off); answers all it said.
    pub fn expect_end(&mut self, within: Duration) -> String {
        let ended = self.console.wait_for_end(within);
        ended.unwrap_or_else(|silence| self.give_up("the machine did not end", silence))
    }

    /// Runs a line in the guest's shell.
    pub fn shell(&mut self, line: &str) -> Done {
        self.commands += 1;
        let number = self.commands;
        // The shell echoes what is typed: the quotes keep the marks out of the echo.
        self.console.send_line(&format!(
            "echo 'MARK''{number}-BEGIN'; {{ {line}; }} 2>&1; echo 'MARK''{number}-END' $?"
        ));
        self.expect(&format!("MARK{number}-BEGIN"), COMMAND);
        let text = self.expect(&format!("MARK{number}-END "), COMMAND);
        let said = self.expect("\r", COMMAND);
        // The kernel may have said something before the line was at its end.
        let digits = said.trim_start().split(|char: char| !char.is_ascii_digit()).next().unwrap_or_default();
        let status = digits.parse().unwrap_or_else(|_| panic!("`{line}`: no exit status: {said}"));
        let text: Vec<&str> = text.lines().filter(|line| !is_kernel_line(line)).collect();
        Done { status, text: text.join("\n").trim().to_owned() }
    }

    /// As [`Guest::shell`], for a line that must succeed; answers what it printed.
    pub fn succeed(&mut self, line: &str) -> String {
        let done = self.shell(line);
        assert_eq!(done.status, 0, "`{line}` in the guest: {}", done.text);
        done.text
    }

    /// Runs a line again and again until it succeeds.
    pub fn wait_until(&mut self, line: &str) {
        let deadline = Instant::now() + BOOT;
        loop {
            let done = self.shell(line);
            if done.status == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "`{line}` never succeeded: {}", done.text);
            std::thread::sleep(Duration::from_secs(2));
        }
    }

    /// Runs a line and answers what it did with the audit records that the kernel wrote meanwhile.
    pub fn audited(&mut self, line: &str) -> (Done, Vec<Record>) {
        self.shell("dmesg -c >/dev/null");
        let done = self.shell(line);
        let records = self.kernel_log();
        (done, audit::records(&records))
    }

    /// The kernel's messages since the boot, or since they were last cleared.
    pub fn kernel_log(&mut self) -> String {
        self.commands += 1;
        let number = self.commands;
        self.console.send_line(&format!("echo 'MARK''{number}-BEGIN'; dmesg; echo 'MARK''{number}-END'"));
        self.expect(&format!("MARK{number}-BEGIN"), COMMAND);
        self.expect(&format!("MARK{number}-END"), COMMAND)
    }

    /// Presses the machine's power button.
    pub fn press_power_button(&mut self) {
        // Ctrl-A C turns the console into QEMU's own, and back.
        self.console.send_line("\x01csystem_powerdown");
        self.console.send_line("\x01c");
    }

    /// Ends the machine at once.
    pub fn stop(mut self) -> String {
        let _ = self.machine.kill();
        self.console.text()
    }

    fn give_up(&mut self, what: &str, silence: Silence) -> ! {
        let _ = self.machine.kill();
        let said = self.console.text();
        let lines: Vec<&str> = said.lines().collect();
        let last = &lines[lines.len().saturating_sub(100)..];
        panic!("{what} ({silence:?}); the console's last lines:\n{}", last.join("\n"));
    }
}

/// `[   12.345678] …`
fn is_kernel_line(line: &str) -> bool {
    line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).is_some_and(|(time, _)| {
        time.contains('.') && time.trim().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}
