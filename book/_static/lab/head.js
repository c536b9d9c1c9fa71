/* Heads in three dimensions: one WebGL canvas behind several boxes of the page, all seen by one camera. */

import * as THREE from "three";
import { OrbitControls } from "../vendor/three/OrbitControls.js";
import { Fault } from "./faults.js";

// The camera of the book: a pinhole 1000 mm before the origin, focal length 8 half image widths.
const DISTANCE = 1000;
const FIELD_OF_VIEW = 2 * Math.atan(1 / 8) * THREE.MathUtils.RAD2DEG;
const TURN = THREE.MathUtils.degToRad(10);
const MILLIMETRE = 0.001;

export class Heads {
  #renderer;
  #camera = new THREE.PerspectiveCamera(FIELD_OF_VIEW, 1, 100, 2000);
  #controls;
  #heads = new Map();
  #due = false;

  /**
   * @param canvas it covers all boxes.
   * @param boxes by the name of a head, the elements in whose places it is drawn.
   * @param triangles Uint16Array, three indices each.
   */
  constructor(canvas, boxes, triangles) {
    try {
      this.#renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
    } catch {
      throw new Fault("This browser draws no 3D (WebGL is missing or switched off). Everything but the heads works.");
    }
    // Colours are display values already.
    this.#renderer.outputColorSpace = THREE.LinearSRGBColorSpace;
    this.#renderer.setScissorTest(true);

    const index = new THREE.BufferAttribute(triangles, 1);
    for (const [name, box] of Object.entries(boxes)) {
      const geometry = new THREE.BufferGeometry().setIndex(index);
      const material = new THREE.MeshBasicMaterial({ vertexColors: true, side: THREE.DoubleSide });
      const mesh = new THREE.Mesh(geometry, material);
      mesh.frustumCulled = false; // its vertices move, and a sphere around them would have to follow
      this.#heads.set(name, { box, mesh });
    }

    this.#controls = new OrbitControls(this.#camera, canvas);
    Object.assign(this.#controls, { enablePan: false, enableZoom: false });
    canvas.style.touchAction = "pan-y"; // a finger that goes up or down scrolls the page
    this.#controls.addEventListener("change", () => this.#drawSoon());
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    new ResizeObserver(() => this.#drawSoon()).observe(canvas);
    this.face();
  }

  /** Shows a head: vertices in mm, colours as lit. */
  show(name, vertices, colours) {
    const { geometry } = this.#heads.get(name).mesh;
    const clamped = colours.map((value) => Math.min(1, Math.max(0, value)));
    geometry.setAttribute("position", new THREE.BufferAttribute(vertices, 3));
    geometry.setAttribute("color", new THREE.BufferAttribute(clamped, 3));
    this.#drawSoon();
  }

  /** Looks from where the photograph was taken. */
  face() {
    this.#camera.position.set(0, 0, DISTANCE);
    this.#controls.update();
    this.#drawSoon();
  }

  /** Turns all heads by so many steps to the right, and up. */
  turn(right, up) {
    const place = new THREE.Spherical().setFromVector3(this.#camera.position);
    place.theta -= right * TURN;
    place.phi = THREE.MathUtils.clamp(place.phi + up * TURN, 0.2, Math.PI - 0.2);
    this.#camera.position.setFromSpherical(place);
    this.#controls.update();
  }

  /** A head as a binary glTF file, in metres. */
  async toGlb(name) {
    const { GLTFExporter } = await import("../vendor/three/GLTFExporter.js");
    const { geometry, material } = this.#heads.get(name).mesh;
    const copy = geometry.clone();
    copy.scale(MILLIMETRE, MILLIMETRE, MILLIMETRE);
    // glTF keeps linear colours, which viewers turn back into display values.
    const colours = copy.getAttribute("color");
    const colour = new THREE.Color();
    for (let i = 0; i < colours.count; i++) {
      colour.fromBufferAttribute(colours, i).convertSRGBToLinear();
      colours.setXYZ(i, colour.r, colour.g, colour.b);
    }
    const content = await new GLTFExporter().parseAsync(new THREE.Mesh(copy, material), { binary: true });
    return new Blob([content], { type: "model/gltf-binary" });
  }

  #onKey(event) {
    const turns = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.key === "Home") this.face();
    else if (event.key in turns) this.turn(...turns[event.key]);
    else return;
    event.preventDefault();
  }

  #drawSoon() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#draw();
    });
  }

  #draw() {
    const canvas = this.#renderer.domElement;
    const whole = canvas.getBoundingClientRect();
    this.#renderer.setPixelRatio(devicePixelRatio);
    this.#renderer.setSize(whole.width, whole.height, false);
    for (const { box, mesh } of this.#heads.values()) {
      if (!mesh.geometry.hasAttribute("position")) continue;
      const place = box.getBoundingClientRect();
      const area = [place.left - whole.left, whole.bottom - place.bottom, place.width, place.height];
      this.#renderer.setViewport(...area);
      this.#renderer.setScissor(...area);
      this.#renderer.render(mesh, this.#camera);
    }
  }
}
