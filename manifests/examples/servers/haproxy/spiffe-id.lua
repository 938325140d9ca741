-- For HAProxy: ssl_c_der,hex,lua.spiffe_id is the SPIFFE ID of the client's certificate. It is empty if the certificate
-- has none, or more than one URI. HAProxy has verified the certificate, so its DER is well-formed.
local extensions, octet_string, uri = 0xA3, 0x04, 0x86
local subject_alt_name = "\x55\x1d\x11"

-- The elements of DER, each with its tag and its content.
local function elements(der)
  local found, at = {}, 1
  while at < #der do
    local tag, length = der:byte(at, at + 1)
    local start = at + 2
    if length >= 0x80 then
      local bytes = length - 0x80
      length = string.unpack(">I" .. bytes, der, start)
      start = start + bytes
    end
    found[#found + 1] = { tag = tag, content = der:sub(start, start + length - 1) }
    at = start + length
  end
  return found
end

local function with_tag(tag, der)
  local found = {}
  for _, element in ipairs(elements(der)) do
    if element.tag == tag then found[#found + 1] = element.content end
  end
  return found
end

-- HAProxy passes text to converters, and would end it at the first zero byte, so the certificate comes in hexadecimal digits.
core.register_converters("spiffe_id", function(hex)
  local der = hex:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end)
  local certificate = elements(elements(der)[1].content)
  local wrapper = with_tag(extensions, certificate[1].content)[1]
  if not wrapper then return "" end
  local uris = {}
  for _, extension in ipairs(elements(elements(wrapper)[1].content)) do
    if elements(extension.content)[1].content == subject_alt_name then
      local names = elements(with_tag(octet_string, extension.content)[1])[1].content
      for _, name in ipairs(with_tag(uri, names)) do uris[#uris + 1] = name end
    end
  end
  return #uris == 1 and uris[1] or ""
end)
