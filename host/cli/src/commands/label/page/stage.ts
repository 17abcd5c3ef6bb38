// One picture, large: fitted, zoomed, moved, made brighter.

import { make, part, pictureAt } from "./dom.js";
import type { Picture } from "./types.js";

/** A picture whose file is on its way, or here. */
export interface Loaded {
  image: HTMLImageElement;
  /** Whether it is here and decoded. */
  ready: Promise<boolean>;
  failed: boolean;
}

/** How much larger than its file a picture is shown at most: at first, where pixels must not hide what they show. */
const [FIRST_SCALE, MOST_SCALE] = [12, 64];
/** Pixels of the window around a picture that fits. */
const MARGIN = 16;

export function load(picture: Picture): Loaded {
  const image = new Image();
  image.alt = "";
  image.draggable = false;
  image.src = pictureAt(picture.id);
  const loaded: Loaded = { image, ready: Promise.resolve(true), failed: false };
  loaded.ready = image.decode().then(
    () => true,
    () => {
      loaded.failed = true;
      return false;
    },
  );
  return loaded;
}

export class Stage {
  private readonly stage = part("stage");
  private readonly brightness = part<HTMLInputElement>("brightness");
  private readonly contrast = part<HTMLInputElement>("contrast");
  private image: HTMLImageElement | null = null;
  private zoom = 1;
  private shift = { x: 0, y: 0 };
  private touches = new Map<number, { x: number; y: number }>();

  constructor() {
    new ResizeObserver(() => this.place()).observe(this.stage);
    this.stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.scale(Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
    });
    this.stage.addEventListener("pointerdown", (event) => this.touch(event));
    this.stage.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"] as const) {
      this.stage.addEventListener(name, (event) => this.touches.delete(event.pointerId));
    }
    this.stage.addEventListener("dblclick", () => this.fit());
    for (const slider of [this.brightness, this.contrast]) slider.addEventListener("input", () => this.place());
    part("zoom-in").addEventListener("click", () => this.scale(1.25));
    part("zoom-out").addEventListener("click", () => this.scale(0.8));
    part("zoom-fit").addEventListener("click", () => this.fit());
  }

  /** Shows a picture; gives the moment at which it is seen. */
  async show(picture: Picture, loaded: Loaded): Promise<number> {
    this.zoom = 1;
    this.shift = { x: 0, y: 0 };
    this.image = loaded.image;
    this.stage.setAttribute("aria-label", `picture ${picture.name}`);
    part("name").textContent = picture.name;
    part("name").title = picture.name;
    this.stage.replaceChildren(loaded.image);
    this.place();
    const isHere = await loaded.ready;
    // Meanwhile another one may be shown.
    if (this.image === loaded.image) {
      if (isHere) this.place();
      else void this.explain(picture, loaded.image);
    }
    return new Promise((seen) => requestAnimationFrame(() => seen(performance.now())));
  }

  clear(): void {
    this.image = null;
    this.stage.replaceChildren();
    part("name").textContent = "";
  }

  /** Says why a picture cannot be shown. */
  private async explain(picture: Picture, image: HTMLImageElement): Promise<void> {
    let why = "it cannot be read as a picture";
    try {
      const response = await fetch(pictureAt(picture.id));
      if (!response.ok) why = await response.text();
    } catch {
      why = "the program does not answer";
    }
    if (this.image !== image) return;
    const text = make("p", "", make("strong", "", "This picture cannot be shown"), make("br"), why);
    const hint = make("p", "soft", "Skip it, or say that nobody can tell.");
    this.stage.replaceChildren(make("div", "missing", text, hint));
    this.image = null;
  }

  fit(): void {
    this.zoom = 1;
    this.shift = { x: 0, y: 0 };
    this.brightness.value = this.contrast.value = "100";
    this.place();
  }

  /** Zooms around a point of the window, or the middle. */
  scale(by: number, x?: number, y?: number): void {
    const box = this.stage.getBoundingClientRect();
    const point = { x: (x ?? box.x + box.width / 2) - box.x, y: (y ?? box.y + box.height / 2) - box.y };
    const middle = { x: box.width / 2 + this.shift.x, y: box.height / 2 + this.shift.y };
    const before = this.zoom;
    this.zoom = Math.min(Math.max(before * by, 0.25), MOST_SCALE);
    const real = this.zoom / before;
    this.shift.x += (point.x - middle.x) * (1 - real);
    this.shift.y += (point.y - middle.y) * (1 - real);
    this.place();
  }

  brighten(by: number): void {
    this.brightness.value = String(Number(this.brightness.value) + by);
    this.place();
  }

  strengthen(by: number): void {
    this.contrast.value = String(Number(this.contrast.value) + by);
    this.place();
  }

  private touch(event: PointerEvent): void {
    this.stage.setPointerCapture(event.pointerId);
    this.touches.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  private move(event: PointerEvent): void {
    const before = this.touches.get(event.pointerId);
    if (before === undefined) return;
    const now = { x: event.clientX, y: event.clientY };
    const other = [...this.touches].find(([id]) => id !== event.pointerId)?.[1];
    this.touches.set(event.pointerId, now);
    if (other !== undefined) {
      const far = (point: { x: number; y: number }): number => Math.hypot(point.x - other.x, point.y - other.y);
      this.scale(far(now) / Math.max(far(before), 1), (now.x + other.x) / 2, (now.y + other.y) / 2);
      return;
    }
    this.shift.x += now.x - before.x;
    this.shift.y += now.y - before.y;
    this.place();
  }

  private place(): void {
    const { image, stage } = this;
    if (image === null || image.naturalWidth === 0) return;
    const { clientWidth: width, clientHeight: height } = stage;
    const [wide, high] = [(width - MARGIN) / image.naturalWidth, (height - MARGIN) / image.naturalHeight];
    const fitted = Math.min(wide, high, FIRST_SCALE);
    const scale = Math.min(fitted * this.zoom, MOST_SCALE);
    image.style.width = `${image.naturalWidth * scale}px`;
    image.style.height = `${image.naturalHeight * scale}px`;
    image.style.transform = `translate(-50%, -50%) translate(${this.shift.x}px, ${this.shift.y}px)`;
    // The pixels of small pictures are seen as they are.
    image.style.imageRendering = scale >= 2 ? "pixelated" : "auto";
    const [brightness, contrast] = [this.brightness.value, this.contrast.value];
    const isPlain = brightness === "100" && contrast === "100";
    image.style.filter = isPlain ? "" : `brightness(${brightness}%) contrast(${contrast}%)`;
  }
}
