// Drives Chromium over the page: reads one JSON object from stdin, answers one on stdout.
//
//   base     where the page is
//   looks    [{ name, path }]: each screen is looked at in light and dark, wide and narrow
//   walks    { name: [what a person does, one after the other] }, each in a window of its own, without a script where the name
//            begins with `plain`: see `step`
//   sizes    which of the sizes, by their numbers; all where it is missing
//   pictures a folder for one picture of each look; none where it is missing
//   shots    [{ name, path, colorScheme, width, height }]: one picture of what a window of this size shows, in that folder
//
// The answer: { problems: [text], said: { name: text } }. A problem is a violation that axe finds, a refusal of the content security
// policy, an error of a script, sideways scrolling, or a step that cannot be done.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const folder = process.argv[2];
const require = createRequire(pathToFileURL(`${folder}/package.json`));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const asked = JSON.parse(readFileSync(0, 'utf8'));
const problems = [];
const said = {};
const PATIENCE = 30_000;

// What the browser itself complains about.
function listen(page, where) {
  page.on('console', (message) => {
    if (message.type() === 'error' && !/the server responded with a status/.test(message.text())) problems.push(`${where()}: ${message.text()}`);
  });
  page.on('dialog', (dialog) => {
    problems.push(`${where()}: a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('pageerror', (error) => problems.push(`${where()}: ${error}`));
}

async function judge(page, where) {
  await page.evaluate(() => document.querySelectorAll('details').forEach((one) => { one.open = true; }));
  const width = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  if (width[0] > width[1]) problems.push(`${where}: ${width[0]} pixels wide in a window of ${width[1]}`);
  await page.evaluate(axe);
  const found = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'], preload: false }));
  for (const one of found.violations) {
    problems.push(`${where}: ${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(' | ')}`);
  }
}

const SIZES = [
  { colorScheme: 'light', width: 1280 },
  { colorScheme: 'dark', width: 1280 },
  { colorScheme: 'light', width: 360 },
  { colorScheme: 'dark', width: 320 },
];

async function look(browser) {
  for (const { colorScheme, width } of asked.sizes?.map((number) => SIZES[number]) ?? SIZES) {
    const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 } });
    const page = await context.newPage();
    let where = '';
    listen(page, () => where);
    for (const { name, path } of asked.looks ?? []) {
      where = `${name}, ${colorScheme}, ${width}`;
      const answer = await page.goto(asked.base + path, { waitUntil: 'load', timeout: PATIENCE });
      if (answer.status() >= 500) problems.push(`${where}: status ${answer.status()}`);
      if (asked.pictures) await page.screenshot({ path: `${asked.pictures}/${name}-${colorScheme}-${width}.png`, fullPage: !asked.small });
      await judge(page, where);
    }
    await context.close();
  }
}

async function shoot(browser) {
  for (const { name, path, colorScheme, width, height } of asked.shots ?? []) {
    const context = await browser.newContext({ colorScheme, viewport: { width, height }, reducedMotion: 'reduce' });
    const page = await context.newPage();
    listen(page, () => name);
    const answer = await page.goto(asked.base + path, { waitUntil: 'load', timeout: PATIENCE });
    if (answer.status() !== 200) problems.push(`${name}: status ${answer.status()}`);
    await page.screenshot({ path: `${asked.pictures}/${name}.png`, animations: 'disabled' });
    await context.close();
  }
}

// One thing that a person does, in the first tab or another one. Texts are regular expressions.
async function step(page, one) {
  const options = { timeout: PATIENCE };
  if (one.open !== undefined) await page.goto(asked.base + one.open, { waitUntil: 'load', ...options });
  else if (one.click) await page.getByRole(one.role ?? 'button', { name: new RegExp(one.click) }).first().click(options);
  else if (one.check) await page.getByRole('checkbox', { name: new RegExp(one.check) }).first().check(options);
  else if (one.fill) await page.getByLabel(new RegExp(one.fill)).first().fill(one.with, options);
  else if (one.press) await page.keyboard.press(one.press);
  else if (one.see) await page.getByText(new RegExp(one.see)).first().waitFor({ state: 'visible', ...options });
  else if (one.gone) await page.getByText(new RegExp(one.gone)).first().waitFor({ state: 'hidden', ...options });
  else if (one.read) said[one.read] = await page.locator(one.of ?? 'main').first().innerText(options);
  else if (one.judge) {
    if (asked.pictures) await page.screenshot({ path: `${asked.pictures}/${one.judge.replaceAll(' ', '-')}.png`, fullPage: true });
    await judge(page, one.judge);
  }
  else throw new Error(`no such step: ${JSON.stringify(one)}`);
}

const browser = await chromium.launch({ executablePath: process.argv[3], args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'] });
try {
  await look(browser);
  await shoot(browser);
  for (const [name, steps] of Object.entries(asked.walks ?? {})) {
    const context = await browser.newContext({ javaScriptEnabled: !name.startsWith('plain'), viewport: { width: 1280, height: 900 } });
    const tabs = [];
    let at = name;
    let page;
    for (const [number, one] of steps.entries()) {
      at = `${name}, step ${number + 1} ${JSON.stringify(one)}`;
      const tab = one.tab ?? 0;
      if (!tabs[tab]) {
        tabs[tab] = await context.newPage();
        listen(tabs[tab], () => at);
      }
      page = tabs[tab];
      try {
        await step(page, one);
      } catch (error) {
        problems.push(`${at}: ${String(error).split('\n')[0]}\n${(await page.locator('main').innerText().catch(() => '')).slice(0, 2000)}`);
        break;
      }
    }
    await context.close();
  }
} catch (error) {
  problems.push(String(error));
} finally {
  await browser.close();
}
console.log(JSON.stringify({ problems, said }));
