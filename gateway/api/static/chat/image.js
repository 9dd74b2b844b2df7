// A picture from the user's disk → a data URL that is small enough to send.

const LONGEST_SIDE_PX = 1024;
/** Gemma 3n scales images to 768 pixels a side; more than this only costs time on the way. */

/** Raises an error where the file is no image. */
export async function asDataUrl(file) {
  const picture = await createImageBitmap(file);
  const scale = Math.min(1, LONGEST_SIDE_PX / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(picture.width * scale);
  canvas.height = Math.round(picture.height * scale);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.9);
}
