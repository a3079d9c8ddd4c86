// What a central system may ask of a charge point, each with a payload to begin with.

const FILES = "https://files.example.com";
const CERTIFICATE = "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n";

const after = (minutes) => new Date(Date.now() + minutes * 60_000).toISOString();

/** `transactionId` and `idTag` are those that the charge point had last, as far as they are known. */
export const TEMPLATES = {
  CancelReservation: () => ({ reservationId: 1 }),
  CertificateSigned: () => ({ certificateChain: CERTIFICATE }),
  ChangeAvailability: () => ({ connectorId: 1, type: "Inoperative" }),
  ChangeConfiguration: () => ({ key: "HeartbeatInterval", value: "60" }),
  ClearCache: () => ({}),
  ClearChargingProfile: () => ({ id: 1 }),
  DataTransfer: () => ({ vendorId: "com.example", messageId: "Hello", data: "" }),
  DeleteCertificate: () => ({
    certificateHashData: { hashAlgorithm: "SHA256", issuerNameHash: "00", issuerKeyHash: "00", serialNumber: "01" },
  }),
  ExtendedTriggerMessage: () => ({ requestedMessage: "Heartbeat" }),
  GetCompositeSchedule: () => ({ connectorId: 1, duration: 3600 }),
  GetConfiguration: () => ({}),
  GetDiagnostics: () => ({ location: `${FILES}/diagnostics` }),
  GetInstalledCertificateIds: () => ({ certificateType: "CentralSystemRootCertificate" }),
  GetLocalListVersion: () => ({}),
  GetLog: () => ({ logType: "SecurityLog", requestId: 1, log: { remoteLocation: `${FILES}/logs` } }),
  InstallCertificate: () => ({ certificateType: "CentralSystemRootCertificate", certificate: CERTIFICATE }),
  RemoteStartTransaction: ({ idTag }) => ({ connectorId: 1, idTag }),
  RemoteStopTransaction: ({ transactionId }) => ({ transactionId }),
  ReserveNow: ({ idTag }) => ({ connectorId: 1, expiryDate: after(15), idTag, reservationId: 1 }),
  Reset: () => ({ type: "Soft" }),
  SendLocalList: ({ idTag }) => ({
    listVersion: 1, updateType: "Full", localAuthorizationList: [{ idTag, idTagInfo: { status: "Accepted" } }],
  }),
  SetChargingProfile: () => ({
    connectorId: 1,
    csChargingProfiles: {
      chargingProfileId: 1,
      stackLevel: 0,
      chargingProfilePurpose: "TxDefaultProfile",
      chargingProfileKind: "Relative",
      chargingSchedule: { chargingRateUnit: "A", chargingSchedulePeriod: [{ startPeriod: 0, limit: 16 }] },
    },
  }),
  SignedUpdateFirmware: () => ({
    requestId: 1,
    firmware: { location: `${FILES}/firmware.bin`, retrieveDateTime: after(1), signingCertificate: CERTIFICATE, signature: "…" },
  }),
  TriggerMessage: () => ({ requestedMessage: "StatusNotification", connectorId: 1 }),
  UnlockConnector: () => ({ connectorId: 1 }),
  UpdateFirmware: () => ({ location: `${FILES}/firmware.bin`, retrieveDate: after(1) }),
};

/** Sent at one click. */
export const QUICK = [
  ["Heartbeat", "TriggerMessage", () => ({ requestedMessage: "Heartbeat" })],
  ["BootNotification", "TriggerMessage", () => ({ requestedMessage: "BootNotification" })],
  ["GetConfiguration", "GetConfiguration"],
  ["RemoteStart", "RemoteStartTransaction"],
  ["RemoteStop", "RemoteStopTransaction"],
  ["UnlockConnector 1", "UnlockConnector"],
  ["ClearCache", "ClearCache"],
  ["Reset Soft", "Reset"],
];
