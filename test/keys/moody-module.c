/*
 * A PKCS#11 module for tests: SoftHSM2, but for what the file named by MOODY_MODULE says at each call. SoftHSM2 never
 * locks, never loses its token while it is used, and never hangs; hardware does. Words of the file:
 *   locked   C_Login answers CKR_PIN_LOCKED, and the token has the flag for it
 *   removed  C_SignInit answers CKR_DEVICE_REMOVED
 *   slow     C_Sign waits for 20 ms
 *   hangs    C_Sign does not return
 *   crashes  C_Sign ends the process
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define CK_PTR *
#ifndef NULL_PTR
#define NULL_PTR 0
#endif
#include "pkcs11.h"

static CK_FUNCTION_LIST_PTR real;
static CK_FUNCTION_LIST moody;

static int is(const char *mood) {
  char word[16] = "";
  const char *path = getenv("MOODY_MODULE");
  FILE *file = path ? fopen(path, "r") : NULL;
  if (!file) return 0;
  if (fscanf(file, "%15s", word) != 1) word[0] = 0;
  fclose(file);
  return strcmp(word, mood) == 0;
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info) {
  CK_RV result = real->C_GetTokenInfo(slot, info);
  if (result == CKR_OK && is("locked")) info->flags |= CKF_USER_PIN_LOCKED;
  return result;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length) {
  return is("locked") ? CKR_PIN_LOCKED : real->C_Login(session, user, pin, length);
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key) {
  return is("removed") ? CKR_DEVICE_REMOVED : real->C_SignInit(session, mechanism, key);
}

static CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG length, CK_BYTE_PTR signature,
                  CK_ULONG_PTR room) {
  if (is("slow")) usleep(20000);
  if (is("hangs")) pause();
  if (is("crashes")) raise(SIGSEGV);
  return real->C_Sign(session, data, length, signature, room);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
  void *library = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW | RTLD_LOCAL);
  CK_C_GetFunctionList get = library ? (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList") : NULL;
  CK_RV result = get ? get(&real) : CKR_GENERAL_ERROR;
  if (result != CKR_OK) return result;
  moody = *real;
  moody.C_GetTokenInfo = get_token_info;
  moody.C_Login = login;
  moody.C_SignInit = sign_init;
  moody.C_Sign = sign;
  *list = &moody;
  return CKR_OK;
}
