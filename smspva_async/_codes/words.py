# ruff: noqa: RUF001 - these are words of many languages
"""The words that tell a one-time code from other numbers, by what they do and by language.

A word here is the beginning of one in a message: `|` after it makes it a whole word, `*` before it lets it stand inside
another (compounds, prefixed articles, scripts without spaces), and `_` is a space, a hyphen or nothing.
"""

from __future__ import annotations

__all__ = [
    "ASKS",
    "CODES",
    "CODE_WORDS",
    "COMMON",
    "COPULAS",
    "CURRENCIES",
    "DONE",
    "ENDINGS",
    "FILLERS",
    "FOR",
    "LABELS",
    "NO_CODE",
    "NUMBERED",
    "OF",
    "OFFERS",
    "OTHER_AFTER",
    "OTHER_BEFORE",
    "OTHER_WHOLE",
    "PHONES",
    "PROOFS",
    "SENDS",
    "SENT_TO",
    "UNITS",
    "UNITS_UNSPACED",
]

CODES = {
    "Latin, several": "*code *kod otp| otps otpni otpiniz pin| pini| pins pinni pinnum *token",
    "Romance": "cod| codul codi| codigo codice clave| claves| contrasena senha palavra_passe mot_de_pass",
    "Other, Latin": (
        "kennwort losenord *passord *passwort *password wachtwoord wagwoord adgangsord tan_nummer kennitala *kood"
        " *tunnuslu salasan salason parool parol slaptazod hasl heslo heslem lozink sifra sifro sifru geslo zapork"
        " sifre jelszo fjalekalim sandi| kata_laluan kata_sandi msimbo nywila neno_la_siri namba_ya_siri"
        " nambari_ya_siri mat_khau ma_xac ma_otp ma_bao_mat ma_kich ma_dang_nhap ma_cua_ban ma_la| ma_pin ma_so_xac"
        " lykilord lambar_sirri lambobin furah"
    ),
    "Cyrillic": "*код *парол пин| пина| пін| шифра сырсоз купия_соз құпия_сөз нууц_үг рамзи",
    "Other scripts": (
        "κωδικ συνθηματικ *კოდ *პაროლ *կոդ *ծածկագ *գաղտնաբառ *գաղտնագ *कोड *ओटीपी *पासवर्ड पिन| *কোড *ওটিপি"
        " *পাসওয়ার্ড পিন| *குறியீ *கடவுச் *ஓடிபி *ஒடிபி *ஓ.டி.பி *கோட் *కోడ్ *ఓటీపీ *ఒటిపి *పాస్‌వర్డ్ *ಕೋಡ್ *ಒಟಿಪಿ"
        " *ಓಟಿಪಿ *കോഡ് *ഒടിപി *ഒറ്റത്തവണ *કોડ *ઓટીપી *ਕੋਡ *ਓਟੀਪੀ *කේත *මුරපද *รหัส *โค้ด *ລະຫັດ *កូដ *ကုဒ် *ኮድ"
    ),
    "Hebrew": "*קוד *סיסמ",
    "Arabic script": (
        "*رمز *كود كلمه_المرور كلمة_المرور كلمه_السر كلمة_السر *الرقم_السري رقم_سري كد گذرواژ پاس_ورد *پاسورد پن|"
    ),
    "East Asia": (
        "*验证码 *驗證碼 *校验码 *校驗碼 *动态码 *動態碼 *确认码 *確認碼 *认证码 *認證碼 *安全码 *安全碼 *激活码"
        " *随机码 *登录码 *登錄碼 *登入碼 *短信码 *识别码 *授权码 *密码 *密碼 *口令 *代码 *代碼 *验证号 *驗證號"
        " *一次性码 *啟用碼 *检验码 *取件码 *取件碼 *提货码 *取货码 *取餐码 *コード *認証番号 *確認番号 *暗証番号"
        " *パスワード *ワンタイム *確認用番号 *認証キー *인증번호 *코드 *비밀번호 *확인번호 *보안번호 *암호 *패스워드"
        " *인증_번호 *확인_번호"
    ),
}
# How these end, in alphabets with capitals.
ENDINGS = (
    "a ai am ami an as at ata d e ea em en ene er es et ets i ia im in ingiz ingizni ini inizi inn is isi it ja jan"
    " jat ka kaga ku kun kusi la lar le m n na nan ne ni nin niz nizi nizin o od oj om on os ot ov ova ove ovi s si"
    " sini t ta tu u ui uk ul un unu unuz unuzu unuzun um umuz us y а ам ами ата е ем еи и ини ингиз иңиз ов ове ового"
    " овое ом от т у ум ун унуз ъ ът ы ың ыңыз ыңызды ын ь ю я ο ος ου οι ων ους ը ն ի ից ով"
)
# What has a number or a code of its own, such as an order: it stands ...
OTHER_BEFORE = (
    "class| gift_card referral refer| invite invitation zip| postal post| area| country| dial| dialling qr| bar|"
    " source| dress| product item error booking reservation order parcel package tracking shipping shipment consignment"
    " invoice customer client member student employee tax swift| sort| ifsc short| color| colour| hs| wifi| wi_fi|"
    " affiliate aktions bestel auftrag paket sendung *verfolg rechnung buchung kund steuer plz| postleitzahl klant"
    " zending kampagne presentkort bestall ordre sparnings sporings medlem skatte postnummer slevov danov hediye barkod"
    " posta| siparis musteri kargo takip vergi uye| sifaris buyurtma mijoz soliq vonal sodus etu| tilau asiakas lahety"
    " seuranta vero| iranyito rendeles csomag nyomkovet ugyfel ado| akcijsk atlaid pasutijum sutijum uzsakym siunt"
    " mokesc nodok pasto pasta| tellimus klien торгов штрих куар трек| почтов поштов налогов податков клиентск пореск"
    " данъч пощенск тапсырыс салық প্রোমো কুপন ডিসকাউন্ট *অর্ডার গ্রাহক प्रोमो कूपन *ऑर्डर ग्राहक ट्रैकिंग *पार्सल"
    " プロモ キャンペーン 郵便 バー エラー 商品 *注文 顧客 お客様 *会員 *追跡 配送 프로모션 상품 초대 에러 *주문 *고객"
    " 회원 배송 *택배 추적 세금 납세 우편 *订单 *訂單 *客户 *客戶 *会员 *會員 *快递 *快件 *包裹 *物流 *税 *稅 *邮政"
    " old| previous former expired alter| altes| alten| ancien anterior| antiguo vecchio antigo| stary| starego старый"
    " старого старий предыдущ попередн eski| gammal gamla| gamle| oude| subscriber buyer urun fatura *产品"
    " *產品"
)
# ... before this, ...
CODE_WORDS = "*cod *kod *kood pin ma| *код κωδικ *קוד *كود كد *رمز *कोड *কোড *コード *코드 *代码 *代碼 *รหัส *โค้ด"
# ... or after it, ...
OTHER_AFTER = (
    "postal post| avviamento avantage barr qr of_conduct review produ error erreur pais pays article parrain referido"
    " referral red| cuppon pedido paquete envio| seguimiento rastre encomenda client socio membr adherent abonne"
    " commande colis suivi comand comenz colet ordin spedizion tracciament tracking pacco factur fattur fatura fiscal"
    " tribut impuest impost impot pocztow kreskow slev kupovin postar comercial zamow klient przesyl sledzen paczk"
    " podatk objednav zakaznik zasilk zasielk sledovan dan| narudzb kupca posiljk pracenj porez stranke товар ошибк"
    " помилк город региона страны країни подразд маркировк заказ клиент абонент посылк отправлени отслеж накладн трек"
    " налог замовл клієнт відстеж посилк податк платник поръчк пратк просл данъ поруџбин пошиљк праћењ порез παραγγελ"
    " πελατ αποστολ φορολογ ταχυδρομ שובר הזמנ ההזמנ לקוח הלקוח מעקב מס| משלוח המשלוח پستي رهگيري سفارش ملي تتبع التتبع"
    " الطلب العميل الشحن الضريب مشتري مالياتي pos| pesanan pelanggan resi| pelacakan pengiriman pajak don| don_hang"
    " van_don buu giam khach so_thue البريد الاستجاب *ไปรษณีย์ *พัสดุ *ลด покупател покупц abonad contribu prodott"
    " skarbow san_pham المنتج מוצר המוצר"
)
# ... with one of these between them, ...
OF = (
    "of de di del dell d du des do da la za na для der votre vos your tu su seu sua tuo twojego вашего вашей вашого"
    " della вашої"
)
# ... and whole, with words that only look like a code.
OTHER_WHOLE = (
    "wifi_pass wi_fi_pass wlan_pass network_pass guest_pass postcod *zipcod *barcod *barkod *karekod qrcod qr_kod"
    " *decod *dekod *encod *enkod *unicod *geocod skoda синекод *перекод *декод *优惠码 *折扣码 *邮政编码 *二维码"
    " *条形码 *兑换码 *股票代码 *优惠密码 *優惠碼 *折扣碼 *條碼 *兌換碼 *レコード *コードレス *쿠폰번호 *바코드 *레코드"
    " *qr코드 *מיקוד *पिन_कोड_क्षेत्र opcod"
)

# What a code is for begins with one of these.
FOR = "for to fur zur zum pour para per do pro na za для на til till voor att untuk pentru için gia για ل ל 用于 用於"
# What a one-time code is for.
PROOFS = {
    "English": (
        "verif authent confirm one_time onetime login log_in logging_in sign_in signin sign_up signup 2fa mfa"
        " two_factor 2_step two_step activat activac authoriz authoris regist passw unlock otp"
    ),
    "Romance": (
        "autentic autoriz valida connexion identif inregistr conect segur securit attivaz ativac inici acceso acced"
        " ingres sesion entrar access sicurezza un_solo_uso usage_unique uso_unic"
    ),
    "Other, Latin": (
        "bestatig anmeld einmal sicherheit bevestig inlog eenmalig beveilig bekreft bekraft engang innlog logga logge"
        " aktiver freischalt stadfest innskra potwierdz weryfik jednoraz logow zalogow potvr overen overovac prihlas"
        " bezpec bezpiec autoryz prijav jednokrat enkrat aktivac preverj vahvist kertakay kirjaut tunnist kinnit"
        " uhekord sisselog patvirtin prisijung vienkart apstiprin vienreiz megerosit ellenorz hitelesit egyszer"
        " bejelentk onay tek_kullanim giris guvenlik tesdiq tasdiq konfirm masuk| pengesahan xac_nhan xac_thuc xac_minh"
        " dang_nhap thibitisha uthibit pagpapatunay kirish dogrul tekkullan baieztap"
    ),
    "Cyrillic": (
        "подтвержд подтверд підтверд верифик верифік однораз еднокр авториз вход увійти вхід войти регистр реєстр"
        " потвърд потврд једнократ пацвярд аднараз активац раста баталгаа тасдиқ тастық безпек безопасн логин проверки"
        " подписания подписи підписання підпису"
    ),
    "Other scripts": (
        "επαληθευ επιβεβαι ταυτοποι συνδεσ εισοδ ασφαλει μιας_χρησ *დადასტურ *ვერიფიკ *ერთჯერად *ავტორიზ *հաստատ"
        " *նույնական *մեկանգամյա *सत्याप *पुष्टि *लॉग *वेरिफ *যাচাই *লগ *ভেরিফ *சரிபார் *உள்நுழை *ధృవీక *లాగిన్ *ಪರಿಶೀಲ"
        " *ಲಾಗಿನ್ *പരിശോധ *ലോഗിൻ *ચકાસ *લૉગિન *ਤਸਦੀਕ *ਲੌਗ *ยืนยัน *เข้าสู่ระบบ *ຢືນຢັນ *ផ្ទៀងផ្ទាត់ *បញ្ជាក់ *အတည်ပြု"
    ),
    "Hebrew, Arabic": (
        "*אימות *לאמת כניסה *חד_פעמי *התחבר *تحقق *تاكيد *تاييد *تصديق *تسجيل_الدخول *ورود يكبار *تفعيل *توثيق *لاگ"
        " *احراز"
    ),
    "East Asia": (
        "*验证 *驗證 *登录 *登錄 *登入 *确认 *確認 *认证 *認證 *校验 *身份 *註冊 *注册 *認証 *ログイン *本人 *인증"
        " *로그인 *본인확인"
    ),
}

# Forms of these that report what was done, and ask for nothing.
DONE = (
    "confirmed verified authorized authorised authenticated activated registered unlocked validated confirmado"
    " confirmada verificado verificada autorizado autorizada activado activada ativado ativada registrado registrada"
    " confermato confermata verificato verificata autorizzato autorizzata attivato attivata validado validada"
    " verifiziert aktiviert freigeschaltet angemeldet potwierdzono potwierdzony potwierdzona potwierdzone"
    " zweryfikowano zweryfikowany autoryzowano подтвержден подтверждена подтверждено подтверждены активирован"
    " активирована авторизован зарегистрирован зарегистрирована підтверджено підтверджена підтверджений"
    " авторизовано зареєстровано потвърдена потвърдено potvrzeno potvrzena potvrdene potvrdeno potvrden potvrdena"
    " onaylandi dogrulandi"
)

# What one shall do with it.
ASKS = (
    "use| enter| type| input| insert| submit| utilis saisi entrez tapez usa| usar ingres escrib insira digite digita"
    " inseris usalo verwende benutze eingeben geben_sie gib| nutze vul| voer gebruik indtast brug| skriv bruk| tast|"
    " ange| anvand syota kayta sisesta kasuta ievad izmanto ivesk naudok wpisz uzyj podaj zadejte zadaj pouzijt"
    " pouzite unesite vnesite upisite uporabi koristite introdu folosi ird_be add_meg hasznal girin kullan daxil kirit"
    " gunakan masukkan guna| nhap| dung| ilagay gamitin tumia| weka| введите введіть въведете унесите ввод увядзіце"
    " енгіз оруулна используй використов използвай користи εισαγ πληκτρολ χρησιμοπ *הזן *הזינ *השתמש *ادخل *استخدم"
    " *وارد *داخل *दर्ज *डालें *ব্যবহার *লিখুন *উপযোগ *उपयोग *உள்ளிட *பயன்படுத் *ใส่ *กรอก *ใช้ *输入 *輸入 *使用"
    " *填写 *入力 *입력 *შეიყვან *մուտքագր"
)

# What introduces another number, and gives no name to a code: a word and, next to it, the number.
LABELS = {
    "English": (
        "cap| psc| awb reference| ref| bill| receipt ticket pnr flight gate| seat| room| flat| apartment apt| table|"
        " queue| bus| train| route visa mastercard maestro amex a/c| acct acc| account| ending| ending_in ending_with"
        " txn transaction utr| upi_ref rrn contract agreement case| claim policy id_no balance bal| model| version| v|"
        " build| po_box box| suite| unit| street| platform terminal branch| extension ext| locker cheque check_no"
        " serial imei| meter sku| points approval id| last_4 last_four total price amount paid session document|"
    ),
    "Romance": (
        "envio reserva vuelo tarjeta saldo cuenta_n cuenta_terminada terminada_en terminado_en acabada_en referencia"
        " cartao conta_final final| protocolo prenotazione volo carta| conto_n riferimento billet vol| carte solde"
        " dossier rezervare zbor card cont_nr sold| finissant terminant termine_par termina_en termina_con termina_em"
        " finit_par cep|"
    ),
    "Other, Latin": (
        "flug kontostand guthaben konto_nr vorgang aktenzeichen endziffer endend factuur boeking vlucht pas| eindigend"
        " bestilling kort| kortet sandning bokning kvitto endet_auf rachun faktur rezerwac kart| karty| kartu rezervac"
        " zostatek zostatok racun| narocil stanje| kartic lasku varaus varauks kortti pakk arve| broneering kaart|"
        " rekin karte saskait kortel szamla foglalas jarat kartya egyenleg rezervasyon ucus bakiye baglama balans"
        " posilka karta| tagihan penerbangan bil| baki| hoa_don so_du chuyen_bay oda| agizo kifurushi salio porosi"
        " numar_comanda"
    ),
    "Cyrillic": (
        "талон индекс отправлен счет| счета| счетчик лічильник договор заявк обращени квитанц брон рейс карт баланс"
        " остаток доступно место кабинет поезд автобус запис рахунок залишок фактур сметк салдо резервац стање сәлемдем"
        " окно| окончан заканчив mir| мир| ecmc покупка оплата списан замова документ| документа|"
    ),
    "Other scripts": (
        "δεμα| τιμολογ κρατησ πτησ καρτα| καρτας υπολοιπο *შეკვეთ *ამანათ *ბარათ *ბალანს *ინვოის *պատվեր *առաք *քարտ"
        " *հաշվեկշ *մնացորդ *बैलेंस *खाते *कार्ड *बिल| *शेष *পার্সেল *ব্যালেন্স *কার্ড *ஆர்டர் *இருப்பு *கணக்கு *அட்டை"
        " *ఆర్డర్ *ఖాతా *ಖಾತೆ *ഓർഡർ *അക്കൗണ്ട് *ઓર્ડર *ਆਰਡਰ *คำสั่งซื้อ *พัสดุ *ยอดเงิน *ยอดคงเหลือ *ใบแจ้งหนี้ *บัตร"
        " *เลขที่ *ห้อง *ລາຍການ"
    ),
    "Hebrew, Arabic": (
        "*הזמנה *משלוח *חבילה *חשבונית *כרטיס *יתרה *תור| *الطلب طلب| طلبك *شحنه *شحنة *شحنتك *فاتوره *فاتورة *بطاقه"
        " *بطاقة *رصيد *حجز *رحله *رحلة مرسوله كارت| مانده *آرڈر *پارسل *بيلنس *المنتهيه"
    ),
    "East Asia": (
        "*单号 *單號 *尾号 *尾號 *末四 *卡号 *卡號 *余额 *餘額 *账单 *帳單 *航班 *编号 *編號 *取件 *房间 *积分 *運單"
        " *账户 *帳戶 *车牌 *车次 *伝票番号 *お問い合わせ番号 *予約番号 *残高 *カード番号 *受付番号 *下4桁 *口座"
        " *송장번호 *예약번호 *접수번호 *잔액 *카드 *계좌 *승인번호 *잔고"
    ),
}
# A promotion, whose codes are for a discount.
OFFERS = (
    "купон kupon cupon buono promo discount coupon voucher sale| % off| cashback gift| deal| rabat gutschein korting"
    " kampanj tilbud erbjud alennus tarjous soodus allahind atlaide akcija nuolaid znizk wyprzed slev| sleva slevu zlav"
    " popust kedvezm akcio reducere ofert descuento desconto sconto offerta remise soldes reduction indirim kampanya"
    " endirim chegirma diskon giam_gia uu_dai khuyen_mai punguzo скид промо акци распродаж знижк отстъп намален попуст"
    " жеңілд εκπτωσ προσφορ *הנחה *מבצע *קופון *خصم *تخفيض *تخفيف *छूट *ऑफर *डिस्काउंट *ছাড় *அஃபர் *தள்ளுபடி *ส่วนลด"
    " *โปรโมชั่น *优惠 *折扣 *優惠 *促销 *满减 *割引 *クーポン *セール *할인 *쿠폰 *특가 *ფასდაკლ *զեղչ"
)
# After these comes a number to call or to write to.
PHONES = (
    "call| calling phone| tel| telephone mobile| hotline helpline dial| text| reply| sms_to contact_us_at contact|"
    " fax| whatsapp_us send_to report_to llam telefon ligue| chiama| appel anruf rufen ruf| bel| ring| soita| helista"
    " zvanie skambink zadzwon zavol volejte pozovite poklicite sunati| suna| hivja| ara| arayin zang| qongiroq hubungi"
    " telepon goi| tawag тел| телефон звон дзвон позвън позовите номер_на_номер καλεστε τηλ *טלפון *חייגו *התקשר *اتصل"
    " *هاتف *تماس *تلفن *कॉल *फोन *কল| *โทร *致电 *电话 *電話 *热线 *客服 *전화 *문의 *დარეკ *զանգ piga_simu sent_to"
    " sent_on mailed_to texted_to delivered_to"
)
# A word to send, and the short number that it is sent to: "text YES to 12345".
SENDS = (
    "sms| text| txt reply send| sent| sende| respond respuest envi envoy invi rispond repond gesend geschick antwort"
    " stuur antwoord skick svara svar wysla wysl odpowied odesl odpov poslj posal trimi kirim dikirim balas gonder"
    " yanitla soan отправ приш ответ надіш надісл відправ שלח נשלח ارسل ارسال *发送 *發送 *送信 *전송"
)
SENT_TO = "to на al a para au an naar til till na la ke gui ל الى"

UNITS = (
    "sec secs second seconds sek sekund seg segundo segundos secondi sekunde sekunden sekundi sn saniye detik giay"
    " сек секунд секунды min mins minute minutes minut minuta minuty minuti minutos minuto minuten minuter"
    " minutter minuutti minuuttia minutit minuut minuci minutach perc percig percen dakika dk deqiqe daqiqa menit"
    " phut dakikada минут минуты минута минути минуте мин хв хвилин хвилини λεπτα hr hrs hour hours std stunde"
    " stunden uur heure heures hora horas ore godz godzin hodin hodiny timer saat soat jam gio saa час часа часов"
    " годин години ωρες day days tag tage tagen dagen dager dagar dias dia jours giorni zile dni dny napon gun kun"
    " hari ngay siku день дня дней дні днів дена μερες kb mb gb tb mah km kg mg ml cm mm kw kwh kcal px mbps mhz"
    " rpm мб гб кб км кг шт pcs pts points people users items штук балл баллов балла бонусов"
)
UNITS_UNSPACED = (
    "분 초 시간 일 월 년 秒 分 小时 小時 天 日 月 年 时 時 点 點 个 個 件 นาที วินาที วัน ชั่วโมง मिनट सेकंड घंटे"
    " दिन মিনিট সেকেন্ড ঘণ্টা நிமிட நொடி నిమిష ನಿಮಿಷ മിനിറ്റ് મિનિટ ਮਿੰਟ წუთ წამ րոպե دقيقة دقائق دقیقه ثانية"
    " ثانیه ساعة ساعات ساعت روز يوم منٹ דקות שניות שעות ימים ደቂቃ នាទី မိနစ် ນາທີ"
)
CURRENCIES = (
    "euro euros eur usd gbp dollar dollars bucks pounds руб рублей рубля рубль рублям р rub rubl грн гривень uah pln"
    " zl zlotych kc kr kron kroner kronor czk huf ft forint ron lei leva лв bgn динара ден денара rsd kn hrk sek nok"
    " dkk isk chf tl lira azn manat тг тенге kzt сум uzs сом gel lari amd ils nis aed sar egp qar kwd درهم ريال جنيه"
    " دينار تومان toman irr روپے rupees rupee rs inr pkr bdt taka tk रुपये रुपए টাকা ரூ ரூபாய் บาท thb baht vnd idr rp"
    " rupiah myr rm php pesos ksh kes tzs tsh ngn naira zar brl reais cny rmb yuan jpy yen krw mxn cop clp ars hkd sgd"
    ' twd ლარი դրամ שקל שקלים ש"ח'
)
# Between a word and the number that it introduces.
FILLERS = (
    "est es ist jest je ir on är este ni adalah la هو הוא คือ no nr num number numero nummer numer numar n номер"
    " номера номером номеру id is was in with de di da du do na на по til to al a of at me us au an pod su cislo broj"
    " stev numarasi raqami رقم מספר 号 號 是 为 為 は par"
)
# "is", before a number.
COPULAS = (
    "is are es est e ist lautet jest je er ar on yra ir sunt este eshte ni ay adalah ialah la va to это є це е είναι"
    " *है *হল *হলো هو هي است ہے *는 *은 *は *为 *為 *是 *คือ इज *הוא *היא"
)
# The little words of languages whose words for a code stand above: in these a number needs more than to be alone.
COMMON = (
    "do who how what know did than been only just left all can get if when it an be no up here the your you and of"
    " to in is are was by my not now so more for with our has have will this that we at on from ваш вам вас для мы"
    " это вы или ihr ihre sie und der die das ist mit fur un una los las del para con por su tu le les des vous"
    " votre pour est dans il di che per gli sua seu voce nao dla jest twoj twoja oraz bir ve icin bu het een uw"
    " van en je och att det din ditt med og til er kamu anda dan yang untuk ваше ваша за се на ті що від"
)
# What may stand in capitals where a code could.
NO_CODE = (
    "valid ready expired required secret private confidential personal strictly never only below sent enclosed"
    " active activated inactive blocked disabled enabled changed incorrect invalid wrong not here attached single"
    " one your the this for and with urgent important stop help info"
)
# A number that a message calls one is an order's or a customer's.
NUMBERED = (
    "number| numbers| nr| numero| numeros| nummer| numer| numeris| numurs| szam| szama cislo cislem broj stev nomor|"
    " nombor| numara raqam nomer| номер нумар број αριθμ מספר *رقم *شماره *नंबर *नम्बर *নম্বর *எண் *หมายเลข *号码"
    " *號碼 *番号 *번호 so_hieu"
)
