/** What is used of the package pkcs11js. It is installed only where keys are in a token, and so are its types. */
export interface Pkcs11Package {
  readonly PKCS11: new () => Pkcs11;
  readonly CKF_OS_LOCKING_OK: number;
  readonly CKF_SERIAL_SESSION: number;
  readonly CKF_USER_PIN_LOCKED: number;
  readonly CKU_USER: number;
  readonly CKO_PRIVATE_KEY: number;
  readonly CKO_PUBLIC_KEY: number;
  readonly CKA_CLASS: number;
  readonly CKA_LABEL: number;
  readonly CKA_ID: number;
  readonly CKA_KEY_TYPE: number;
  readonly CKA_EC_POINT: number;
  readonly CKA_EC_PARAMS: number;
  readonly CKA_MODULUS: number;
  readonly CKA_PUBLIC_EXPONENT: number;
  readonly CKK_EC: number;
  readonly CKM_ECDSA: number;
  readonly CKM_RSA_PKCS: number;
}

export interface Attribute {
  readonly type: number;
  readonly value?: number | boolean | Buffer;
}

/** Handles are bytes. Each function throws with the name of the error, such as CKR_TOKEN_NOT_PRESENT, in the message. */
export interface Pkcs11 {
  load(module: string): void;
  C_Initialize(options: { flags: number }): void;
  C_GetSlotList(withToken: boolean): Buffer[];
  C_GetTokenInfo(slot: Buffer): { label: string; serialNumber: string; flags: number };
  C_OpenSession(slot: Buffer, flags: number): Buffer;
  C_Login(session: Buffer, user: number, pin: string): void;
  C_FindObjectsInit(session: Buffer, template: readonly Attribute[]): void;
  C_FindObjects(session: Buffer, most: number): Buffer[];
  C_FindObjectsFinal(session: Buffer): void;
  C_GetAttributeValue(
    session: Buffer,
    object: Buffer,
    template: readonly Attribute[],
  ): { type: number; value: Buffer }[];
  C_SignInit(session: Buffer, mechanism: { mechanism: number }, key: Buffer): void;
  C_SignAsync(session: Buffer, content: Buffer, room: Buffer): Promise<Buffer>;
}
