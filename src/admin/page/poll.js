// One round after the other, as long as somebody looks.

/** Runs `round` now, every `every` milliseconds, at once when the tab is shown again, and whenever what it returns is
 * called. `paused` is told when the tab is hidden; rounds never overlap. */
export function poll(every, round, paused) {
  let timer = 0;
  let running = false;
  let again = false;

  async function run() {
    clearTimeout(timer);
    if (running) {
      again = true;
      return;
    }
    running = true;
    do {
      again = false;
      await round();
    } while (again);
    running = false;
    // Hidden: the next round comes with the tab.
    if (!document.hidden) timer = setTimeout(run, every);
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      paused();
    } else {
      run();
    }
  });
  if (document.hidden) paused();
  else run();
  return run;
}
